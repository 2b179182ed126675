"""Tables of what masks' values mean: read, applied, refused, and made where there is none."""

from pathlib import Path

import numpy as np
import pytest

from striate.datasets.class_tables import ClassTable, counted, named_classes, numbered, read_table
from striate.errors import DataError

HERE = Path("cells")
MASK = Path("cells/masks/a.png")


def written(folder, text, encoding="utf-8"):
    file = folder / "classes.csv"
    file.write_bytes(text.encode(encoding))
    return file


def held(*masks):
    return {
        Path(f"{number}.png"): dict.fromkeys(sorted(values), 9)
        for number, values in enumerate(masks)
    }


def test_values_become_class_indices_in_the_order_of_the_table(tmp_path):
    table = read_table(
        written(tmp_path, "value,name,note\n7,cell,\n0,ground,dark\n9,ignored,\n3,cell,small\n")
    )
    assert table.classes == ("cell", "ground")
    values = np.array([[7, 0, 3], [9, 255, 0]], np.int16)
    assert table.apply(MASK, values).tolist() == [[0, 1, 0], [255, 255, 1]]


def test_a_table_may_give_255_and_negative_values_a_meaning(tmp_path):
    table = read_table(written(tmp_path, "value,name\n0,ground\n255,cell\n-1,ignored\n"))
    assert table.apply(MASK, np.array([[0, 255, -1]], np.int16)).tolist() == [[0, 1, 255]]


def test_colors_are_told_apart_and_blue_is_not_left_out(tmp_path):
    table = read_table(written(tmp_path, "color,name\n#000000,ground\n#0000FE,cell\n"))
    assert table.colored
    assert table.apply(MASK, np.array([[0, 0xFE]])).tolist() == [[0, 1]]
    with pytest.raises(DataError, match=r"a.png holds #0000ff, which .*classes.csv does not name"):
        table.apply(MASK, np.array([[0, 0xFF]]))


def test_values_that_the_table_does_not_name_are_told_five_at_most():
    table = named_classes({0: "a", 1: "b"}, HERE / "classes.csv")
    with pytest.raises(DataError, match=r"holds 2, 3, 4, 5, 6 and 2 more, which cells.classes.csv"):
        table.apply(MASK, np.arange(9))


def test_a_spreadsheet_s_mark_at_the_beginning_is_passed_over(tmp_path):
    assert read_table(written(tmp_path, "index,name\r\n0,a\r\n1,b\r\n", "utf-8-sig")).classes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"begins with nothing; its first line must be value,name"),
        ("0,ground\n1,cell\n", r"begins with 0,ground; its first line must be"),
        ("value;name\n0;a\n", r"begins with value;name; its first line"),
        ("value,name\n0,a\nx,b\n", r"line 3: x,b is no such line; needed is 1,cell, say"),
        ("value,name\n0,a\n1,\n", r"line 3: 1, is no such line"),
        ("value,name\n0,a\n\n1\n", r"line 4: 1, is no such line"),
        ("value,name\n0,a\n0,b\n", r"line 3: 0,b names a value again"),
        ("color,name\n#000000,a\n255,b\n", r"line 3: 255,b is no such line; needed is #ff0000,"),
        ("color,name\n#fff,a\n", r"line 2: #fff,a is no such line"),
        ("value,name\n0,a\n1,ignored\n", r"names 1 classes besides ignored; needed are 2 to 255"),
        ("value,name\n" + "".join(f"{i},c{i}\n" for i in range(256)), r"names 256 classes"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, told):
    with pytest.raises(DataError, match=told):
        read_table(written(tmp_path, text))


def test_a_table_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"classes.csv cannot be read as a table .*; save it as CSV"
    ):
        read_table(written(tmp_path, "value,name\n0,Straße\n1,b\n", "latin-1"))


def test_without_a_table_numbers_in_a_row_are_classes():
    table = numbered(held({0, 2}, {0, 1, 255}), HERE)
    assert (table.classes, table.colored) == (("0", "1", "2"), False)
    assert table.apply(MASK, np.array([2, 255, 0])).tolist() == [2, 255, 0]
    with pytest.raises(DataError, match=r"holds 3, which no training mask holds; correct it, or"):
        table.apply(MASK, np.array([3]))


def test_255_beside_several_classes_is_left_out_even_in_a_mask_without_them():
    assert numbered(held({0, 255}, {0, 1}), HERE).classes == ("0", "1")


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ([{0, 255}, {0}], r"hold 0, 255, but .*name 0,background 255,object1 > cells.classes.csv$"),
        ([{1, 2, 3}], r"hold 1, 2, 3, but without a table they must hold 0, 1, 2"),
        ([{0, 1}, {0, 4}], r"hold 0, 1, 4, but .*0,background 1,object1 4,object2 > cells"),
        ([{-1, 0, 1}], r"hold -1, 0, 1, but"),
        ([{0, *range(20, 31)}], r"hold 0, 20, .*26, \.\.\., but .*further value: .* 26,object7 > "),
        ([{0}, {0}], r"all masks in cells hold 0 alone, so there is nothing to tell apart"),
        ([{255}], r"all masks in cells hold 255 alone"),
        ([{*range(66)}], r"0.png holds 66 different values, as where each object has a number of"),
        ([{*range(4)}, {*range(12)}, {*range(7)}], r"^1.png holds 12 different values.*instances"),
    ],
)  # fmt: skip
def test_other_values_without_a_table_are_refused_with_the_table_to_write(masks, told):
    with pytest.raises(DataError, match=told):
        numbered(held(*masks), HERE)


def test_a_few_wrong_pixels_are_named_and_not_made_a_class():
    masks = {Path("a.png"): {0: 4000, 1: 5000}, Path("b.png"): {0: 7000, 1: 1999, 9: 1}}
    with pytest.raises(
        DataError,
        match=r"^b.png holds 9 in 1 of 9,000 pixels, where nearly all of the masks hold 0, 1; corr",
    ) as refusal:
        numbered(masks, HERE)
    assert "object" not in str(refusal.value)
    two = {Path("a.png"): {0: 4000, 255: 1}}  # a rare object, of two values alone
    with pytest.raises(DataError, match=r"255,object1"):
        numbered(two, HERE)


def test_classes_in_few_masks_are_no_numbers_of_objects():
    assert len(numbered(held({*range(12)}, {0, 5}), HERE).classes) == 12
    assert len(numbered(held({*range(12)}, {*range(12)}), HERE).classes) == 12
    assert len(numbered(held({*range(8)}, {*range(4)}), HERE).classes) == 8


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_the_values_of_a_mask_are_listed_once(dtype):
    values = np.array([[3, 0], [3, 200]], np.uint8).astype(dtype)
    assert counted(values) == {0: 1, 3: 2, 200: 1}


def test_a_table_keeps_what_it_was_made_of():
    assert ClassTable({0: "a", 1: "ignored", 2: "b"}, colored=False, foreign="").classes == (
        "a",
        "b",
    )
