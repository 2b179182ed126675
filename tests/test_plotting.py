"""Curves: read back from the drawing, by its own tick labels, and compared with the rows."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.plotting import curves

SVG = "{http://www.w3.org/2000/svg}"
RUN = [
    {
        "epoch": epoch,
        "train_loss": 2.3 * 0.8**epoch,
        "train_error": 0.9 * 0.7**epoch,
        "validation_loss": 2.3 * 0.83**epoch + 0.01,
        "validation_error": 0.5 / epoch + abs(epoch - 17) / 300,
        "learning_rate": 0.05 / epoch,
        "seconds": 2.5 * epoch,
    }
    for epoch in range(1, 24)
]


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lines(svg: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """(class, points) of every line, in the order of drawing."""
    return [
        (line.get("class"), [tuple(map(float, p.split(","))) for p in line.get("points").split()])
        for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    ]


def ticks(svg: str, anchor: str, left: float) -> list[tuple[float, float]]:
    """(position, number) of the tick labels of one axis of the panel that begins at ``left``."""
    found = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        x, y = float(element.get("x")), float(element.get("y"))
        if element.get("text-anchor") != anchor or element.get("font-size") != "12":
            continue
        if anchor == "end" and x == left - 8:
            found.append((y - 4, float(element.text)))
        if anchor == "middle" and left - 1 <= x <= left + 385:
            found.append((x, float(element.text)))
    return found


def read_back(place: float, axis: list[tuple[float, float]], log: bool = False) -> float:
    (p0, v0), (p1, v1) = axis[0], axis[-1]
    share = (place - p0) / (p1 - p0)
    return v0 * (v1 / v0) ** share if log else v0 + share * (v1 - v0)


def test_the_lines_read_by_the_tick_labels_are_the_rows():
    svg = curves(RUN, title="run")
    assert texts(svg).count("loss, log scale") == texts(svg).count("error rate [%], log scale") == 1
    assert [kind for kind, _ in lines(svg)] == ["train", "validation"] * 2
    for (kind, points), measure, left in zip(
        lines(svg), ["loss", "loss", "error", "error"], [60, 60, 552, 552], strict=True
    ):
        scale = 1 if measure == "loss" else 100
        across, up = ticks(svg, "middle", left), ticks(svg, "end", left)
        for row, (x, y) in zip(RUN, points, strict=True):
            assert read_back(x, across) == pytest.approx(row["epoch"], abs=0.02)
            value = scale * row[f"{kind}_{measure}"]
            assert read_back(y, up, log=True) == pytest.approx(value, rel=0.01)


def test_among_equal_errors_the_lowest_loss_is_marked():
    rows = [
        {"epoch": epoch, "validation_error": 0.01, "validation_loss": loss}
        for epoch, loss in ((1, 0.5), (2, 0.3), (3, 0.4))
    ]
    assert any("at epoch 2" in text for text in texts(curves(rows, title="run")))


def test_where_there_is_dice_it_is_drawn_as_an_error_and_its_best_epoch_is_marked():
    dices = (0.5, 0.92, 0.9418, 0.9)
    rows = [
        {
            "epoch": k + 1,
            "train_error": 0.3,
            "validation_error": 0.1 + 0.01 * k,
            "validation_dice": d,
        }
        for k, d in enumerate(dices)
    ]
    svg = curves(rows, title="run")
    drawn = dict(lines(svg))
    across, up = ticks(svg, "middle", 552), ticks(svg, "end", 552)
    for (x, y), dice, epoch in zip(drawn["dice"], dices, (1, 2, 3, 4), strict=True):
        assert read_back(x, across) == pytest.approx(epoch, abs=0.02)
        assert read_back(y, up) == pytest.approx(100 - 100 * dice, abs=0.2)
    assert "best Dice 0.942" in texts(svg)
    assert any("best validation Dice 0.942 at epoch 3" in text for text in texts(svg))
    assert {"error [%]", "train", "validation", "1 − Dice"} < {*texts(svg)}
    near = [{**row, "validation_dice": 1 - 0.3 * 0.1**k} for k, row in enumerate(rows)]
    assert "error [%], log" in texts(curves(near, title="run"))


def test_the_earliest_of_the_best_validation_epochs_is_marked_with_its_value():
    rows = [{"epoch": epoch, "validation_error": 0.2, "train_error": 0.1} for epoch in range(1, 24)]
    rows[8]["validation_error"] = rows[11]["validation_error"] = 0.0167
    svg = curves(rows, title="run")
    assert "best 1.67 %" in texts(svg)
    assert any("best validation error 1.67 % at epoch 9" in text for text in texts(svg))
    across, up = ticks(svg, "middle", 552), ticks(svg, "end", 552)
    (mark,) = (
        element
        for element in ElementTree.fromstring(svg).iter(f"{SVG}circle")
        if element.get("r") == "5.5"
    )
    assert read_back(float(mark.get("cx")), across) == pytest.approx(9, abs=0.02)
    assert read_back(float(mark.get("cy")), up) == pytest.approx(1.67, abs=0.05)


def test_an_axis_is_logarithmic_from_one_and_a_half_decades_on():
    def headings(lowest: float) -> list[str]:
        losses = [{"epoch": 1, "train_loss": 10.0}, {"epoch": 2, "train_loss": lowest}]
        return texts(curves(losses, title=""))

    assert "loss" in headings(0.32)
    assert "loss, log scale" in headings(0.31)
    assert "loss" in headings(0.0)


@pytest.mark.parametrize(
    ("losses", "numbers"),
    [
        ([0.01, 0.5], ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5"]),
        ([0.011, 0.51], ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]),
        ([1.0, 500.0], ["1", "10", "100"]),
        ([1.0, 1e8], ["1", "100", "10000", "1e6", "1e8"]),
        ([0.00009, 0.9], ["0.0001", "0.001", "0.01", "0.1", "1"]),
        ([3e-7, 2e9], ["1e-6", "0.0001", "0.01", "1", "100", "10000", "1e6", "1e8"]),
    ],
)
def test_a_logarithmic_axis_has_round_numbers_and_no_more_than_eight(losses, numbers):
    rows = [{"epoch": epoch, "train_loss": loss} for epoch, loss in enumerate(losses)]
    svg = curves(rows, title="")
    written = texts(svg)
    assert written[3 : written.index("epoch")] == [*numbers, "0", "1"]


@pytest.mark.parametrize("error", [0.3, 1.0])
def test_a_linear_axis_begins_at_zero_and_ends_on_a_round_number(error):
    rows = [{"epoch": 1, "train_error": error}, {"epoch": 2, "train_error": 0.22}]
    numbers = [number for _, number in ticks(curves(rows, title=""), "end", 552)]
    assert numbers[0] == 0
    assert numbers[-1] == 100 * error
    assert {round(b - a, 9) for a, b in pairwise(numbers)} in ({10}, {20})


def test_losses_below_zero_are_drawn_on_an_axis_that_holds_zero():
    rows = [{"epoch": 1, "train_loss": -0.2}, {"epoch": 2, "train_loss": -0.93}]
    svg = curves(rows, title="")
    up = ticks(svg, "end", 60)
    assert [number for _, number in up] == pytest.approx([-1, -0.8, -0.6, -0.4, -0.2, 0])
    ((_, points),) = lines(svg)
    assert [read_back(y, up) for _, y in points] == pytest.approx([-0.2, -0.93], abs=0.005)


def test_one_epoch_is_a_dot_for_each_line_under_its_own_tick():
    svg = curves(RUN[:1], title="run")
    dots = [
        element.get("cx")
        for element in ElementTree.fromstring(svg).iter(f"{SVG}circle")
        if element.get("r") == "3"
    ]
    assert dots == ["252.0", "252.0", "744.0", "744.0"]
    assert ticks(svg, "middle", 60) == [(252, 1)]
    assert any(text.startswith("1 epoch in 2 s · ") for text in texts(svg))


def test_a_run_without_validation_has_only_its_training_line():
    rows = [{**row, "validation_loss": None, "validation_error": None} for row in RUN]
    for absent in (rows, [{k: v for k, v in row.items() if v is not None} for row in rows]):
        svg = curves(absent, title="run")
        assert [kind for kind, _ in lines(svg)] == ["train", "train"]
        assert not any("best" in text or text == "validation" for text in texts(svg))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, None])
def test_values_that_cannot_be_drawn_are_left_out_and_the_line_goes_on(value):
    rows = [{"epoch": epoch, "train_loss": 1 / epoch} for epoch in range(1, 8)]
    rows[2]["train_loss"] = value
    svg = curves(rows, title="run")
    ((_, points),) = lines(svg)
    across = ticks(svg, "middle", 60)
    assert [round(read_back(x, across)) for x, _ in points] == [1, 2, 4, 5, 6, 7]
    assert "no values" in texts(svg)  # the error panel


def test_a_long_line_is_thinned_but_keeps_its_ends_and_every_extreme():
    rows = [{"epoch": epoch, "train_loss": 1.0 + epoch % 2 / 8} for epoch in range(1, 3001)]
    rows[1234]["train_loss"] = 1.9
    rows[2345]["train_loss"] = 0.1
    svg = curves(rows, title="run")
    ((_, points),) = lines(svg)
    up, across = ticks(svg, "end", 60), ticks(svg, "middle", 60)
    drawn = {round(read_back(x, across)): read_back(y, up) for x, y in points}
    assert len(points) <= 400
    assert points == sorted(points)
    assert max(drawn.values()) == pytest.approx(1.9, abs=0.01)
    assert min(drawn.values()) == pytest.approx(0.1, abs=0.01)
    assert points[0][0] == 60
    assert points[-1][0] == 444


def test_up_to_400_points_are_all_drawn():
    rows = [{"epoch": epoch, "train_loss": 1.0} for epoch in range(400)]
    assert len(lines(curves(rows, title=""))[0][1]) == 400


@pytest.mark.parametrize(
    ("last", "numbers"),
    [(2, [1, 2]), (7, [1, 2, 3, 4, 5, 6, 7]), (40, [1, 10, 20, 30, 40]), (11, [2, 4, 6, 8, 10])],
)
def test_epoch_ticks_are_whole_round_numbers(last, numbers):
    rows = [{"epoch": epoch, "train_loss": 1.0} for epoch in range(1, last + 1)]
    assert [number for _, number in ticks(curves(rows, title=""), "middle", 60)] == numbers


def test_the_line_under_the_title_tells_time_and_learning_rates():
    assert any(
        text.startswith("23 epochs in 58 s · ") and text.endswith("learning rate 0.05 to 0.00217")
        for text in texts(curves(RUN, title=""))
    )
    constant = [{"epoch": e, "learning_rate": 0.1, "seconds": 60.0 * e} for e in (1, 2)]
    assert "2 epochs in 2 min · learning rate 0.1" in texts(curves(constant, title=""))


NUMBERS = dict.fromkeys(
    [key for key in RUN[0] if key != "epoch"], st.none() | st.floats() | st.floats(0, 1)
)
ROWS = st.fixed_dictionaries({"epoch": st.none() | st.integers(0, 10**6)}, optional=NUMBERS)


@given(st.lists(ROWS, max_size=6), st.text())
@settings(max_examples=150, deadline=None)
def test_any_rows_and_any_title_give_valid_xml_inside_its_frame(rows, title):
    svg = curves(rows, title=title)
    svg.encode()
    for _, points in lines(svg):
        for x, y in points:
            assert 60 <= x <= 552 + 384
            assert 108 <= y <= 108 + 226


def test_the_title_is_whole_for_readers_and_cut_in_the_drawing():
    title = "<b>&amp; " + 100 * "x" + "\udce9\0"
    svg = curves(RUN, title=title)
    whole = ElementTree.fromstring(svg).find(f"{SVG}title").text
    assert whole == title[:-2] + "��"
    assert texts(svg)[0] == title[:89] + "…"


def test_the_drawing_has_colours_for_light_and_dark_and_keeps_them_to_itself():
    style = ElementTree.fromstring(curves(RUN, title="")).find(f"{SVG}style").text
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    selectors = [line.split("{")[0].strip() for line in light.splitlines() if "{" in line]
    assert all(selector.startswith(".striate-curves") for selector in selectors)
    assert [s for s in selectors if s != ".striate-curves"] == [
        line.split("{")[0].strip() for line in dark.splitlines() if "striate" in line
    ]


def test_every_text_and_line_has_at_least_the_contrast_that_readers_need():
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    style = ElementTree.fromstring(curves(RUN, title="")).find(f"{SVG}style").text
    for half in style.split("@media"):
        colour = {
            line.split()[1].strip("."): line.split()[-2]
            for line in half.splitlines()
            if "#" in line
        }
        for name in ("ink", "quiet", "best", "train", "validation"):
            pair = sorted([luminance(colour[name]), luminance(colour["paper"])])
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, name
