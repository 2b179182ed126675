"""What a person sees while training runs: a bar on a terminal, a line an epoch elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SECONDS_BETWEEN_FRAMES = 0.1
_SECONDS_BETWEEN_LINES = 10

Counter = Callable[[int, int], None]


class Display(Protocol):
    """Is told what happens; see ``Lines`` for when each is called."""

    def note(self, text: str) -> None: ...  # noqa: D102
    def reading(self) -> AbstractContextManager[Counter | None]: ...  # noqa: D102
    def begin(self, epochs: int, images: int, done: int) -> None: ...  # noqa: D102
    def step(self, epoch: int, images: int, loss: float) -> None: ...  # noqa: D102
    def end_epoch(self, row: Mapping[str, float | None]) -> None: ...  # noqa: D102
    def end(self) -> None: ...  # noqa: D102


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None:
        """Ignore a message."""

    def reading(self) -> AbstractContextManager[Counter | None]:
        """Count nothing."""
        return nullcontext(None)

    def begin(self, epochs: int, images: int, done: int) -> None:
        """Ignore the start."""

    def step(self, epoch: int, images: int, loss: float) -> None:
        """Ignore a step."""

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        """Ignore an epoch."""

    def end(self) -> None:
        """Ignore the end."""


class PassingOn:
    """Passes everything on to another display: for what wants to hear some of it too.

    Args:
        display: Told everything.
    """

    def __init__(self, display: Display) -> None:
        self.display = display

    def note(self, text: str) -> None:
        """Pass a message on."""
        self.display.note(text)

    def reading(self) -> AbstractContextManager[Counter | None]:
        """Pass the count on."""
        return self.display.reading()

    def begin(self, epochs: int, images: int, done: int) -> None:
        """Pass the start on."""
        self.display.begin(epochs, images, done)

    def step(self, epoch: int, images: int, loss: float) -> None:
        """Pass a step on."""
        self.display.step(epoch, images, loss)

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        """Pass an epoch on."""
        self.display.end_epoch(row)

    def end(self) -> None:
        """Pass the end on."""
        self.display.end()


class Lines(Silent):
    """One line an epoch on stderr, for logs."""

    def note(self, text: str) -> None:
        """Say something once."""
        print(text, file=sys.stderr, flush=True)

    def reading(self) -> AbstractContextManager[Counter | None]:
        """Images are read before training; give what is to be called with those done and all."""
        started = last = time.monotonic()

        def count(done: int, whole: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _SECONDS_BETWEEN_LINES and done < whole:
                last = now
                left = (now - started) / max(done, 1) * (whole - done)
                self.note(f"read {done:,} of {whole:,} images, {left:.0f} s left")

        return nullcontext(count)

    def begin(self, epochs: int, images: int, done: int) -> None:
        """Training starts: so many epochs of so many images, ``done`` images already seen."""
        self.epochs = epochs

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        """An epoch is over; ``row`` is its line of progress.csv."""
        self.note(epoch_line(row, self.epochs))


class Bar(Lines):
    """A progress bar on stderr, with images a second, loss and time left."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.last_frame = 0.0

    def note(self, text: str) -> None:
        """Print above the bar."""
        if self.progress is None:
            super().note(text)
        else:
            self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def reading(self) -> AbstractContextManager[Counter | None]:
        """Draw a bar while images are read before training."""
        return count_bar("reading", "images")

    def begin(self, epochs: int, images: int, done: int) -> None:
        """Draw the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        super().begin(epochs, images, done)
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %  {task.fields[rate]} images/s"),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self.progress.start()
        self.task: TaskID = self.progress.add_task(
            "training",
            total=epochs * images,
            completed=done,
            epoch=min(done // images + 1, epochs),
            epochs=epochs,
            rate="-",
            loss="-",
        )
        self.started, self.seen = time.perf_counter(), 0

    def step(self, epoch: int, images: int, loss: float) -> None:
        """Move the bar on, at most ten times a second."""
        if self.progress is None:
            return
        self.seen += images
        self.progress.advance(self.task, images)
        now = time.perf_counter()
        if now - self.last_frame > _SECONDS_BETWEEN_FRAMES:
            self.last_frame = now
            rate = self.seen / (now - self.started)
            self.progress.update(self.task, epoch=epoch, rate=f"{rate:,.0f}", loss=f"{loss:.4g}")
            self.progress.refresh()

    def end(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


def choose_display() -> Display:
    """Give a bar where stderr is a terminal that can draw one, lines elsewhere."""
    return Bar() if _is_drawable() else Lines()


def _is_drawable() -> bool:
    from rich.console import Console

    console = Console(stderr=True)
    # FORCE_COLOR makes rich call a log file a terminal, so the stream itself is asked too.
    return sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal


@contextmanager
def count_bar(name: str, unit: str) -> Iterator[Counter | None]:
    """Show how many of what are done, with the time left; else as ``image_bar``."""
    if not _is_drawable():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        *(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()),
        *(TextColumn(unit), TimeRemainingColumn(compact=True), TextColumn("left")),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, whole: progress.update(task, completed=done, total=whole)


@contextmanager
def image_bar() -> Iterator[Counter | None]:
    """Show how many images are done; give what is to be called with these and all images.

    Where stderr is no terminal that can draw, give None.
    """
    if not _is_drawable():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task("images", total=None)

    def count(done: int, whole: int) -> None:
        progress.start()  # not before the first call: another bar may be drawn until then
        progress.update(task, completed=done, total=whole)

    try:
        yield count
    finally:
        progress.stop()


def epoch_line(row: Mapping[str, float | None], epochs: int) -> str:
    """Say in one line of 80 columns how an epoch went; the second pair is the validation part's.

    Where there is a Dice coefficient, it stands in place of the training error.

    Example:
        >>> epoch_line(
        ...     {"epoch": 3, "train_loss": 0.0512, "train_error": 0.013, "validation_loss": 0.06,
        ...      "validation_error": 0.02, "learning_rate": 0.01, "seconds": 4.2}, epochs=20)
        'epoch  3/20  loss 0.05120, error 1.30 %  validation 0.06000, 2.00 %  4.2 s'
    """
    dice = row.get("validation_dice")
    parts = [
        f"epoch {int(row['epoch'] or 0):{len(str(epochs))}}/{epochs}",
        f"loss {row['train_loss']:#.4g}",
    ]
    if dice is None:
        parts[1] += f", error {100 * (row['train_error'] or 0):.2f} %"
    if row["validation_loss"] is not None:
        error = 100 * (row["validation_error"] or 0)
        parts.append(f"validation {row['validation_loss']:#.4g}, {error:.2f} %")
        if dice is not None:
            parts[-1] += f", Dice {dice:.3f}"
    return "  ".join([*parts, f"{row['seconds']:.1f} s"])
