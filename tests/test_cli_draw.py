"""`striate draw`: a file that is what Python draws, and refusals in a line."""

import pytest

from commanding import refused, said
from striate.drawing import draw
from striate.models import build
from striate.tracing import trace


def test_draw_writes_what_python_draws(capsys, tmp_path):
    out = tmp_path / "lenet5.svg"
    assert said(capsys, "draw", "lenet5", "-o", str(out)) == ""
    assert out.read_text("utf-8") == draw(trace(build("lenet5"), (1, 32, 32)), "lenet5")


def test_draw_takes_a_style_a_theme_and_another_input(capsys, tmp_path):
    out = tmp_path / "small.svg"
    options = ("--style", "graph", "--theme", "dark", "--input", "3x28x28")
    said(capsys, "draw", "lecun1990", "-o", str(out), *options)
    expected = trace(build("lecun1990", in_channels=3), (3, 28, 28))
    assert out.read_text("utf-8") == draw(expected, "lecun1990", style="graph", theme="dark")


def test_draw_takes_a_run(capsys, tmp_path, run):
    out = tmp_path / "run.svg"
    said(capsys, "draw", run, "-o", str(out))
    assert "1@28×28" in out.read_text("utf-8")


def test_draw_takes_a_run_that_labels_pixels_with_its_tile(capsys, tmp_path, mask_run):
    out = tmp_path / "run.svg"
    said(capsys, "draw", mask_run, "-o", str(out))
    assert "24×32" in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lenet5 -o {}/a.png", "a.png is not .svg, and the drawing is; name the file so"),
        ("lenet5 -o {}/no/a.svg", "no is not a folder; make it first, or write elsewhere"),
        ("lenet6 -o {}/a.svg", "no network is called 'lenet6'; did you mean 'lenet5'?"),
        ("lenet5 -o {}/a.svg --style u", "the network is no U: it needs to go down"),
        ("lenet5 -o {}/a.svg --input 1x40x40", "LeNet-5 reads images of 32x32, not"),
        ("lenet5", "Missing option '-o' / '--out'; see `striate draw --help`"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_line(capsys, tmp_path, words, message):
    assert message in refused(capsys, 2, "draw", *words.format(tmp_path).split())
    assert list(tmp_path.iterdir()) == []
