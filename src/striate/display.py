"""What a person sees while training runs: a bar on a terminal, a line an epoch elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import rich.progress

_SECONDS_BETWEEN_FRAMES = 0.1
_SECONDS_BETWEEN_LINES = 10

Progress = Callable[[int, int], None]  # called with how many are done, of so many


class Display(Protocol):
    """Is told what happens; see ``Lines`` for when each is called."""

    def note(self, text: str) -> None: ...  # noqa: D102
    def reading(self) -> AbstractContextManager[Progress | None]: ...  # noqa: D102
    def begin(self, epochs: int, images: int, done: int) -> None: ...  # noqa: D102
    def step(self, epoch: int, images: int, loss: float) -> None: ...  # noqa: D102
    def end_epoch(self, row: Mapping[str, float | None]) -> None: ...  # noqa: D102
    def end(self) -> None: ...  # noqa: D102


class Silent:
    """Shows nothing."""

    def note(self, text: str) -> None:
        """Ignore a message."""

    def reading(self) -> AbstractContextManager[Progress | None]:
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

    def reading(self) -> AbstractContextManager[Progress | None]:
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

    def reading(self) -> AbstractContextManager[Progress | None]:
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
        self.progress: rich.progress.Progress | None = None
        self.last_frame = 0.0

    def note(self, text: str) -> None:
        """Print above the bar."""
        if self.progress is None:
            super().note(text)
        else:
            self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def reading(self) -> AbstractContextManager[Progress | None]:
        """Draw a bar while images are read before training."""
        return count_bar("reading", "images")

    def begin(self, epochs: int, images: int, done: int) -> None:
        """Draw the bar."""
        from rich import progress
        from rich.console import Console

        super().begin(epochs, images, done)
        self.progress = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            progress.BarColumn(),
            progress.TextColumn("{task.percentage:3.0f} %  {task.fields[rate]} images/s"),
            progress.TextColumn("loss {task.fields[loss]}"),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("left"),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self.progress.start()
        self.task: rich.progress.TaskID = self.progress.add_task(
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
def count_bar(name: str, unit: str) -> Iterator[Progress | None]:
    """Show how many of what are done, with the time left; else as ``image_bar``."""
    if not _is_drawable():
        yield None
        return
    from rich import progress
    from rich.console import Console

    with progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn(unit),
        progress.TimeRemainingColumn(compact=True),
        progress.TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


@contextmanager
def image_bar() -> Iterator[Progress | None]:
    """Show how many images are done; give what is to be called with these and all images.

    Where stderr is no terminal that can draw, give None.
    """
    if not _is_drawable():
        yield None
        return
    from rich import progress
    from rich.console import Console

    bar = progress.Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task("images", total=None)

    def count(done: int, whole: int) -> None:
        bar.start()  # not before the first call: another bar may be drawn until then
        bar.update(task, completed=done, total=whole)

    try:
        yield count
    finally:
        bar.stop()


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
