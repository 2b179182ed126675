"""What a person sees: a bar on a terminal that can draw one, lines in a log."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest

from striate.display import Bar, Lines, Silent, choose_display, epoch_line, image_bar

ROW = {
    "epoch": 3.0, "learning_rate": 0.01, "train_loss": 0.0512, "train_error": 0.013,
    "validation_loss": 0.06, "validation_error": 0.02, "seconds": 4.2,
}  # fmt: skip
LONGEST = {
    "epoch": 100.0, "learning_rate": 0.01, "train_loss": 65.5773, "train_error": 1.0,
    "validation_loss": 51.3547, "validation_error": 1.0, "seconds": 36000.0,
}  # fmt: skip
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MOVES = re.compile(r"\r|\n|\x1b\[\d*[AB]")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


class Terminal:
    """A pseudo-terminal of some columns in the place of stderr, and what was written to it."""

    def __init__(self, columns: int) -> None:
        self.ours, self.theirs = pty.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.file = os.fdopen(self.theirs, "w", encoding="utf-8")
        self.content = b""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self.ours, 65536)
            except OSError:  # Linux says so that the other end is closed
                return
            if not chunk:
                return
            self.content += chunk

    def take_stderr(self, monkeypatch) -> None:
        """Stand in for stderr; to be called in a test, for pytest sets its own before each."""
        monkeypatch.setattr(sys, "stderr", self.file)

    def text(self) -> str:
        """Close the terminal and give all that was written."""
        if not self.file.closed:
            self.file.close()
            self.reader.join()
            os.close(self.ours)
        return self.content.decode()

    def lines(self) -> list[str]:
        """Everything that ever stood in a line, in order, without colours."""
        return [ESCAPE.sub("", line) for line in MOVES.split(self.text())]


@pytest.fixture
def terminal():
    opened = Terminal(80)
    yield opened
    opened.text()


def train_for_show(display, epochs=2, loss=0.25):
    """Three steps of 7, 7 and 5 images an epoch, none too quick for a frame."""
    display.begin(epochs, 19, 0)
    for epoch in range(1, epochs + 1):
        for images in (7, 7, 5):
            display.last_frame = 0.0
            display.step(epoch, images, loss)
        display.end_epoch({**ROW, "epoch": float(epoch)})
    display.end()


def test_lines_are_one_an_epoch_on_stderr_and_nothing_else(capsys):
    display = Lines()
    display.note("one thread")
    train_for_show(display)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "one thread",
        "epoch 1/2  loss 0.05120, error 1.30 %  validation 0.06000, 2.00 %  4.2 s",
        "epoch 2/2  loss 0.05120, error 1.30 %  validation 0.06000, 2.00 %  4.2 s",
    ]


def test_silence_is_silent(capfd):
    display = Silent()
    display.note("nothing")
    train_for_show(display)
    assert capfd.readouterr() == ("", "")


def test_without_validation_a_line_leaves_it_out():
    row = {**ROW, "validation_loss": None, "validation_error": None}
    assert epoch_line(row, 20) == "epoch  3/20  loss 0.05120, error 1.30 %  4.2 s"


def test_a_line_fits_on_80_columns_also_where_the_numbers_are_long():
    line = epoch_line(LONGEST, 100)
    assert line == (
        "epoch 100/100  loss 65.58, error 100.00 %  validation 51.35, 100.00 %  36000.0 s"
    )
    assert len(line) <= 80


def test_a_dice_coefficient_stands_in_place_of_the_training_error():
    row = {**ROW, "validation_loss": 0.2971, "validation_error": 0.086, "validation_dice": 0.9418}
    line = epoch_line(row, 20)
    assert line == "epoch  3/20  loss 0.05120  validation 0.2971, 8.60 %, Dice 0.942  4.2 s"
    longest = epoch_line({**LONGEST, "validation_dice": 1.0}, 100)
    assert longest.endswith("validation 51.35, 100.00 %, Dice 1.000  36000.0 s")
    assert len(longest) <= 80
    assert epoch_line({**ROW, "validation_dice": None}, 20) == epoch_line(ROW, 20)


def test_epochs_stand_below_each_other():
    starts = [epoch_line({**ROW, "epoch": float(n)}, 20)[:11] for n in (1, 9, 10, 20)]
    assert starts == ["epoch  1/20", "epoch  9/20", "epoch 10/20", "epoch 20/20"]


def test_a_bar_shows_share_images_a_second_loss_and_time_left(terminal, monkeypatch):
    terminal.take_stderr(monkeypatch)
    train_for_show(Bar())
    frames = [line for line in terminal.lines() if "images/s" in line]
    assert re.fullmatch(r"epoch 1/2 [━╺╸]+ +0 %  - images/s loss - -+:-+ left *", frames[0])
    pattern = r"epoch (\d)/2 [━╺╸]+ +(\d+) %  [\d,]+ images/s loss 0.25 (\d\d|--):(\d\d|--) left *"
    shown = [re.fullmatch(pattern, frame) for frame in frames[1:]]
    assert all(shown)
    epochs_and_shares = [(match[1], int(match[2])) for match in shown if match]
    for epoch, seen in (("1", 7), ("1", 14), ("1", 19), ("2", 26), ("2", 33), ("2", 38)):
        assert (epoch, round(100 * seen / 38)) in epochs_and_shares
    assert [share for _, share in epochs_and_shares] == sorted(s for _, s in epochs_and_shares)


def test_a_line_an_epoch_stays_above_the_bar_and_the_bar_goes_away(terminal, monkeypatch):
    terminal.take_stderr(monkeypatch)
    display = Bar()
    display.note("before the bar")
    train_for_show(display)
    display.note("after the bar")
    lines = terminal.lines()
    assert [line for line in lines if line.startswith("epoch") and "validation" in line] == [
        epoch_line({**ROW, "epoch": 1.0}, 2),
        epoch_line(ROW | {"epoch": 2.0}, 2),
    ]
    assert "before the bar" in lines
    assert "after the bar" in lines
    last_bar = terminal.text().rindex("images/s")
    assert "\x1b[2K" in terminal.text()[last_bar:]  # its line is erased
    assert terminal.text().count("\x1b[?25l") == terminal.text().count("\x1b[?25h")  # the cursor


@pytest.mark.parametrize(("epochs", "images", "loss"), [(2, 19, 0.25), (1000, 60_000, 1.234e-05)])
def test_the_bar_fits_on_one_line_of_80_columns(terminal, monkeypatch, epochs, images, loss):
    terminal.take_stderr(monkeypatch)
    display = Bar()
    display.begin(epochs, images, (epochs - 1) * images)
    display.started -= 0.0123  # so that the rate is a large number
    display.step(epochs, images, loss)
    display.end()
    frames = [line for line in terminal.lines() if "images/s" in line]
    assert frames
    assert max(len(frame) for frame in frames) <= 80
    assert all(frame.rstrip().endswith("left") for frame in frames)


def test_frames_are_drawn_at_most_ten_times_a_second(terminal, monkeypatch):
    terminal.take_stderr(monkeypatch)
    display = Bar()
    display.begin(1, 3000, 0)
    for _ in range(1000):
        display.step(1, 3, 0.5)
    seconds = display.last_frame - display.started
    display.end()
    frames = [line for line in terminal.lines() if "images/s" in line]
    assert len(frames) <= 10 * (seconds + 0.2) + 3


def test_a_resumed_bar_starts_where_training_stopped(terminal, monkeypatch):
    terminal.take_stderr(monkeypatch)
    display = Bar()
    display.begin(4, 19, 2 * 19 + 7)
    display.end()
    finished = Bar()
    finished.begin(4, 19, 4 * 19)
    finished.end()
    frames = [line for line in terminal.lines() if "images/s" in line]
    assert re.match(r"epoch 3/4 .* 59 %", frames[0])
    assert re.match(r"epoch 4/4 .* 100 %", frames[-1])


def test_a_bar_that_has_not_begun_takes_steps_and_the_end_quietly(terminal, monkeypatch):
    terminal.take_stderr(monkeypatch)
    display = Bar()
    display.step(1, 7, 0.5)
    display.end()
    assert terminal.text() == ""


def test_no_colour_is_drawn_where_none_is_wanted(terminal, monkeypatch):
    terminal.take_stderr(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    assert isinstance(choose_display(), Bar)
    train_for_show(choose_display())
    assert "images/s" in terminal.text()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", terminal.text())


def test_a_terminal_gets_a_bar(terminal, monkeypatch):
    terminal.take_stderr(monkeypatch)
    assert isinstance(choose_display(), Bar)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_draw_gets_lines(terminal, monkeypatch, term):
    terminal.take_stderr(monkeypatch)
    monkeypatch.setenv("TERM", term)
    display = choose_display()
    assert isinstance(display, Lines)
    assert not isinstance(display, Bar)


@pytest.mark.parametrize("wish", ["", "FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_log_gets_lines_whatever_the_environment_wishes(monkeypatch, wish):
    if wish:
        monkeypatch.setenv(wish, "1")
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    display = choose_display()
    assert not isinstance(display, Bar)
    train_for_show(display)
    assert len(log.getvalue().splitlines()) == 2
    assert not re.search(r"[\x1b\r━]", log.getvalue())


def test_images_done_are_shown_on_a_terminal_and_leave_nothing_behind(terminal, monkeypatch):
    terminal.take_stderr(monkeypatch)
    with image_bar() as progress:
        progress(100, 300)
        progress(300, 300)
    lines = terminal.lines()
    shown = [line for line in lines if line.startswith("images ")]
    assert "100%" in shown[-1]
    assert max(map(len, lines)) <= 80
    assert lines[-1] == ""


def test_images_done_are_not_counted_in_a_log(capfd):
    with image_bar() as progress:
        assert progress is None
    assert capfd.readouterr() == ("", "")


def test_a_real_training_on_a_terminal_keeps_to_its_80_columns(tmp_path):
    """The whole way: `striate train lenet5 digits` on a pseudo-terminal of 80 columns."""
    shown = Terminal(80)
    arguments = ["train", "lenet5", "digits", "--epochs", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-m", "striate", *arguments],
        stdout=subprocess.PIPE, stderr=shown.file, check=False, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    lines = shown.lines()
    assert done.returncode == 0
    assert done.stdout == f"{tmp_path / 'run'}\n"
    bars = [line for line in lines if "images/s" in line]
    epochs = [line for line in lines if "validation" in line and line.startswith("epoch")]
    assert len(bars) > 1
    assert [line[:9] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert max(len(line) for line in bars + epochs) <= 80
