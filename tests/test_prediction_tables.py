"""Predictions as JSON, as CSV and on a terminal of 80 columns."""

import csv
import io
import json

from rich.console import Console

from striate.prediction import NO_FIGURE, Prediction
from striate.prediction_tables import as_csv, as_json, as_table


def some(count: int) -> list[Prediction]:
    tops = [(("seven", 1 / 3), ("one", 0.3)), (('cat, "wild"\n[red]', 0.9), ("ö", 1e-9))]
    return [
        Prediction(f"photos/{number}.png", *tops[number % 2][0], tops[number % 2], ("cut", "grey"))
        for number in range(count)
    ]


def test_json_and_csv_give_every_number_back():
    predictions = some(5)
    for row, answer in zip(json.loads(as_json(predictions)), predictions, strict=True):
        assert list(row) == ["path", "label", "probability", "top", "notes"]
        top = tuple((entry["label"], entry["probability"]) for entry in row["top"])
        assert Prediction(*list(row.values())[:3], top, tuple(row["notes"])) == answer
    rows = list(csv.DictReader(io.StringIO(as_csv(predictions))))
    for row, answer in zip(rows, predictions, strict=True):
        assert list(row) == ["path", "label", "probability", "label_2", "probability_2", "notes"]
        pairs = ((row["label"], row["probability"]), (row["label_2"], row["probability_2"]))
        assert tuple((label, float(share)) for label, share in pairs) == answer.top
        assert (row["path"], row["notes"]) == (answer.path, "cut; grey")
    assert json.loads(as_json([])) == []
    assert as_csv([]) == "path,label,probability,notes\n"


def printed(predictions) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(as_table(predictions))
    return console.file.getvalue()


def test_tables_fit_80_columns_for_one_image_and_for_1_000():
    one = printed(some(1))
    assert "photos/0.png" in one
    assert "33.33%" in one
    assert "30.00%" in one
    assert "· cut" in one
    many = printed([*some(999), some(1)[0]._replace(path="long/" * 40 + "end.png")])
    assert max(len(line) for line in many.splitlines()) <= 80
    assert all(f"photos/{number}.png" in many for number in range(999))
    assert "end.png" in many
    assert many.count("[red]") == 500  # 499 lines and the sum: no markup
    assert "1,000 images: 501 × seven, 499 × cat" in many
    assert "0 images" in printed([])


def test_further_classes_of_several_images_stand_behind_the_first():
    console = Console(width=80, file=io.StringIO())
    console.print(as_table(some(2), further=1))
    lines = console.file.getvalue().splitlines()
    assert "one 30.00%" in next(line for line in lines if "photos/0.png" in line)
    assert max(map(len, lines)) <= 80
    assert "one" not in printed(some(2))


def test_the_table_says_of_the_first_ten_changed_images_what_was_done():
    changed = [
        Prediction(f"scan{n}.png", "7", 0.9, (("7", 0.9),), ("inverted", "resized 9×8 → 5×5"))
        for n in range(13)
    ]
    plain = Prediction("plain.png", "1", 0.8, (("1", 0.8),), ())
    text = printed([plain, *changed])
    assert text.count("inverted; resized 9×8 → 5×5") == 10
    assert "scan9.png: inverted" in text
    assert "plain.png:" not in text
    assert "and 3 more were changed; --json says how" in text


def test_where_no_figure_was_found_the_table_says_so_first():
    some_ = [Prediction(f"{n}.png", "7", 1.0, (("7", 1.0),), ("inverted",)) for n in range(11)]
    blank = Prediction("blank.png", "1", 1.0, (("1", 1.0),), (NO_FIGURE,))
    assert "blank.png: no figure found" in printed([*some_, blank])
