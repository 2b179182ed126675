"""Splits: disjoint, whole, by class, groups undivided, the same in any order."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.datasets.data_fields import check_data_fields
from striate.datasets.listing import Listing, Place
from striate.datasets.split_files import apply_split, changed_since, write_split
from striate.datasets.splits import in_parts, split
from striate.errors import DataError, UsageError
from striate.recipes import Recipe

FAST = settings(max_examples=40, deadline=None)


def listing(targets, groups=None, parts=None, names=None, columns=None):
    names = names or [f"c{target}/{number:04d}.png" for number, target in enumerate(targets)]
    return Listing(
        "set",
        tuple(f"class{number}" for number in range(max(targets) + 1)),
        tuple(Place(f"/set/{name}", name) for name in names),
        torch.tensor(targets),
        parts or {"train": torch.arange(len(targets))},
        "/set",
        "class folders",
        groups=None if groups is None else tuple(groups),
        columns=columns or {},
    )


def shuffled(whole, seed):
    order = torch.randperm(len(whole.places), generator=torch.Generator().manual_seed(seed))
    return replace(
        whole,
        places=tuple(whole.places[index] for index in order),
        targets=whole.targets[order],
        groups=None if whole.groups is None else tuple(whole.groups[index] for index in order),
    )


def by_name(whole):
    return {
        whole.places[index].name: part
        for part, indices in whole.parts.items()
        for index in indices.tolist()
    }


def counts(whole, part):
    return torch.bincount(whole.targets[whole.parts[part]], minlength=len(whole.classes))


@FAST
@given(
    st.lists(st.integers(0, 4), min_size=12, max_size=80),
    st.floats(0.05, 0.5),
    st.floats(0.05, 0.5),
    st.integers(0, 2**40),
)
def test_parts_are_disjoint_and_whole_and_each_class_has_its_share(targets, test, share, seed):
    targets += [0, 0, 0]
    whole = listing(targets)
    done = split(whole, validation=share, test=test, seed=seed)
    everything = torch.cat([done.parts[part] for part in ("train", "validation", "test")])
    assert sorted(everything.tolist()) == list(range(len(targets)))
    sizes = torch.bincount(torch.tensor(targets), minlength=len(whole.classes))
    left = sizes - counts(done, "test")
    for part, pool, wanted in (("test", sizes, test), ("validation", left, share)):
        held = counts(done, part)
        assert (((held - wanted * pool).abs() < 1) | (pool <= 1)).all()
        assert (held[pool > 1] >= 1).all()
        assert (held[pool <= 1] == 0).all()
    assert (counts(done, "train")[sizes > 0] >= 1).all()
    again = split(shuffled(whole, seed % 1000), validation=share, test=test, seed=seed)
    assert by_name(done) == by_name(again)


@FAST
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=40, max_size=90),
    st.integers(0, 1000),
)
def test_no_group_is_in_two_parts_whatever_the_order(rows, seed):
    targets, groups = [row[0] for row in rows], [f"patient{row[1]}" for row in rows]
    targets, groups = [*targets, *[0, 1, 2, 3] * 3], [*groups, *(f"g{k}" for k in range(12))]
    whole = listing(targets, groups)
    done = split(whole, validation=0.2, test=0.2, seed=seed)
    held = [{groups[index] for index in indices.tolist()} for indices in done.parts.values()]
    assert len(held) == 3
    assert sum(map(len, held)) == len(set(groups))
    assert sorted(torch.cat([*done.parts.values()]).tolist()) == list(range(len(targets)))
    assert by_name(done) == by_name(
        split(shuffled(whole, seed), validation=0.2, test=0.2, seed=seed)
    )


def test_groups_of_one_size_are_parted_by_class_too():
    targets = [number // 200 for number in range(400)]
    groups = [f"p{number // 4}" for number in range(400)]
    done = split(listing(targets, groups), validation=0.0, test=0.25, seed=3)
    assert (counts(done, "test") - 50).abs().max() <= 2
    assert "validation" not in done.parts


@FAST
@given(
    st.lists(st.integers(0, 3), min_size=7, max_size=60),
    st.integers(2, 7),
    st.integers(0, 1000),
    st.booleans(),
)
def test_folds_cover_what_is_not_test_once(targets, count, seed, in_groups):
    groups = [f"g{number // 2}" for number in range(len(targets) + 14)] if in_groups else None
    targets = [*targets, *[0, 1] * 7]
    whole = listing(targets, groups)
    folds = [
        split(whole, validation=0.5, test=0.0, seed=seed, fold=f"{fold}/{count}")
        for fold in range(1, count + 1)
    ]
    held = [fold.parts["validation"] for fold in folds]
    assert sorted(torch.cat(held).tolist()) == list(range(len(targets)))
    assert all(len(each) for each in held)
    for fold in folds:
        assert sorted([*fold.parts["train"].tolist(), *fold.parts["validation"].tolist()]) == list(
            range(len(targets))
        )
    if groups:
        assert sum(len({groups[index] for index in each.tolist()}) for each in held) == len(
            {*groups}
        )
    else:
        each = torch.stack([counts(fold, "validation") for fold in folds])
        assert (each.amax(dim=0) - each.amin(dim=0)).max() <= 1
        assert max(map(len, held)) - min(map(len, held)) <= 1
    again = split(shuffled(whole, seed), validation=0.5, test=0.0, seed=seed, fold=f"1/{count}")
    assert by_name(again) == by_name(folds[0])


def test_folds_of_uneven_groups_have_as_many_of_each_class():
    draw = torch.Generator().manual_seed(1)
    groups, targets = [], []
    for number in range(60):
        size = int(torch.randint(1, 9, (), generator=draw))
        groups += [f"p{number}"] * size
        targets += torch.randint(0, 3, (size,), generator=draw).tolist()
    whole = listing(targets, groups)
    folds = [split(whole, validation=0, test=0, seed=0, fold=f"{k}/5") for k in range(1, 6)]
    held = torch.stack([counts(fold, "validation") for fold in folds])
    expected = torch.bincount(torch.tensor(targets)) / 5
    assert (held - expected).abs().max() <= 3


def test_folds_lie_outside_of_one_test_part():
    whole = listing([0, 1] * 30)
    folds = [split(whole, validation=0, test=0.2, seed=4, fold=f"{k}/3") for k in (1, 2, 3)]
    tests = {tuple(fold.parts["test"].tolist()) for fold in folds}
    assert len(tests) == 1
    assert sum(len(fold.parts["validation"]) for fold in folds) == 60 - 12
    assert "fold 2 of 3: 16 images of 48 are the validation part, by class" in folds[1].notes[-1]


def test_another_seed_gives_other_parts_of_the_same_sizes():
    whole = listing([0, 1, 2] * 30)
    one, other = (split(whole, validation=0.1, test=0.1, seed=seed) for seed in (0, 1))
    assert one.parts["test"].tolist() != other.parts["test"].tolist()
    assert counts(one, "test").tolist() == counts(other, "test").tolist() == [3, 3, 3]
    assert one.parts["validation"].tolist() != one.parts["test"].tolist()


def test_given_parts_stay_as_they_are():
    given_parts = {"train": torch.tensor([0, 1, 2, 3, 6, 7]), "test": torch.tensor([4, 5])}
    done = split(listing([0, 1] * 4, parts=given_parts), validation=0.4, test=0.4, seed=0)
    assert done.parts["test"].tolist() == [4, 5]
    assert counts(done, "validation").tolist() == [1, 1]
    both = {"train": torch.arange(6), "validation": torch.tensor([6]), "test": torch.tensor([7])}
    done = split(listing([0, 1] * 4, parts=both), validation=0.4, test=0.4, seed=0)
    assert {part: indices.tolist() for part, indices in done.parts.items()} == {
        "train": [0, 1, 2, 3, 4, 5], "validation": [6], "test": [7],
    }  # fmt: skip
    assert done.notes == ()


def test_classes_too_small_to_part_train_and_are_told():
    done = split(listing([0] * 10 + [1] + [2, 2]), validation=0.2, test=0.2, seed=0)
    assert counts(done, "train").tolist() == [6, 1, 1]
    assert counts(done, "test").tolist() == [2, 0, 1]
    assert counts(done, "validation").tolist() == [2, 0, 0]
    told = "with none of their images in the test part: too few to part"
    assert f"1 class {told}: class1" in done.notes
    assert "2 classes with none of their images in the validation" in done.notes[-1]


def test_large_shares_leave_each_class_an_image_for_the_other_parts():
    done = split(listing([0, 0, 1, 1]), validation=0, test=0.95, seed=0)
    assert counts(done, "train").tolist() == counts(done, "test").tolist() == [1, 1]
    done = split(listing([0, 1] * 3), validation=0.3, test=0.7, seed=0)
    assert [counts(done, part).tolist() for part in done.parts] == [[1, 1]] * 3


def test_a_group_of_a_given_part_that_trains_too_is_told_and_stays():
    parts = {"train": torch.arange(8), "test": torch.tensor([8, 9])}
    groups = ["a", "a", "b", "b", "c", "c", "d", "d", "a", "e"]
    done = split(listing([0, 1] * 5, groups, parts), validation=0.25, test=0.1, seed=0)
    assert "1 group of the set's own train part is in its test part too: a" in done.notes
    assert {groups[index] for index in done.parts["validation"].tolist()} <= {"b", "c", "d"}


def test_groups_come_from_columns_and_from_names():
    names = [f"p{number % 4}_{number}.png" for number in range(12)]
    whole = listing([0, 1, 1] * 4, names=names, columns={"eye": ("l", "r") * 6})
    for group, kinds in (("eye", {"l", "r"}), ("^(p[0-9])_", {"p0", "p1", "p2", "p3"})):
        done = split(whole, validation=0, test=0.5, seed=0, group=group)
        assert {*done.groups} == kinds
        assert not {done.groups[i] for i in done.parts["train"].tolist()} & {
            done.groups[i] for i in done.parts["test"].tolist()
        }


@pytest.mark.parametrize(
    ("group", "error", "told"),
    [
        (
            "p[0-9]",
            UsageError,
            r"no column of /set \(columns: eye\) and as a .* has no group; give",
        ),
        ("(p", UsageError, r"nor a regular expression \(.*\); give a column, or an expression"),
        ("^(p[01])_", DataError, r"6 of 12 images do not match --group .*: p2_2.png, p3_3.png,"),
        ("eye", DataError, r"1 of 12 images have nothing in column eye; fill it in.*: p0_0.png"),
    ],
)
def test_groups_that_are_none_are_refused(group, error, told):
    names = [f"p{number % 4}_{number}.png" for number in range(12)]
    whole = listing([0, 1, 1] * 4, names=names, columns={"eye": ("", *["l"] * 11)})
    with pytest.raises(error, match=told):
        split(whole, validation=0, test=0.5, seed=0, group=group)


def test_sets_that_cannot_be_parted_are_refused():
    one = listing([0, 1] * 5, ["a"] * 10)
    with pytest.raises(
        UsageError, match=r"no test part can be held out of /set: one group or none"
    ):
        split(one, validation=0, test=0.1, seed=0)
    with pytest.raises(UsageError, match=r"no test part .* give --test 0 and --validation 0$"):
        split(listing([0, 1]), validation=0.1, test=0.1, seed=0)
    with pytest.raises(
        UsageError, match=r"no validation part .*one image of each class.*--validat"
    ):
        split(listing([0, 1]), validation=0.1, test=0, seed=0)
    with pytest.raises(UsageError, match="fold is 1/3, but 2 images cannot make 3 folds"):
        split(listing([0, 1]), validation=0.1, test=0, seed=0, fold="1/3")
    with pytest.raises(UsageError, match="fold is 1/2, but 1 group cannot make 2 folds"):
        split(one, validation=0.1, test=0, seed=0, fold="1/2")
    with pytest.raises(DataError, match="/set has no training images, only test; give"):
        split(listing([0, 1], parts={"test": torch.arange(2)}), validation=0, test=0, seed=0)
    own = {"train": torch.tensor([0]), "validation": torch.tensor([1])}
    with pytest.raises(UsageError, match="has a validation part of its own; leave --fold out"):
        split(listing([0, 1], parts=own), validation=0, test=0, seed=0, fold="1/2")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)


@FAST
@given(st.lists(TEXT, min_size=8, max_size=20, unique=True), st.booleans(), st.integers(0, 99))
def test_a_split_is_written_and_read_back_in_any_order(names, in_groups, seed):
    names[0] += "\udce9,\r\n\"'"
    targets = [number % 2 for number in range(len(names))]
    groups = [f"g, {number % 5}" for number in range(len(names))] if in_groups else None
    done = split(listing(targets, groups, names=names), validation=0.2, test=0.2, seed=seed)
    text = write_split(done).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    again = apply_split(shuffled(listing(targets, names=names), seed), text)
    assert by_name(again) == by_name(done)
    pairs = {(place.name, group) for place, group in zip(done.places, groups or (), strict=False)}
    if groups:
        assert {(p.name, g) for p, g in zip(again.places, again.groups, strict=True)} == pairs
    assert (again.groups is None) is (groups is None)


def test_a_split_of_other_images_is_refused_with_counts():
    done = split(listing([0, 1] * 8), validation=0.2, test=0.2, seed=0)
    text = write_split(done)
    fewer = done.keeping(torch.arange(16) > 2)
    with pytest.raises(
        DataError, match=r"3 images of /set that were in the split are gone: c0/0000"
    ):
        apply_split(fewer, text)
    with pytest.raises(DataError, match=r"3 images of /set are new since .*c0/0000.png, c0/0002"):
        apply_split(done, write_split(fewer))
    kept = apply_split(done, write_split(fewer), drop_new=True)
    assert by_name(kept) == by_name(fewer)
    other = replace(done, targets=1 - done.targets)
    with pytest.raises(
        DataError, match=r"16 images .* another class .*0000.png \(class0, now class1"
    ):
        apply_split(other, text)
    for wrong in ("", "a,b\n", text.replace("group", "team", 1), text + "x,y\n"):
        with pytest.raises(
            DataError, match="no table of path,label,part,group,sha256; take the run's"
        ):
            apply_split(done, wrong)


def test_images_with_other_bytes_than_were_written_are_named():
    whole = split(listing([0, 1] * 4), validation=0.25, test=0.25, seed=0)
    contents = [bytes([index]) * 32 for index in range(8)]
    text = write_split(whole, contents)
    assert (
        text.splitlines()[1]
        == f"{whole.places[0].name},class0,{by_name(whole)[whole.places[0].name]},,{'00' * 32}"
    )
    assert changed_since(whole, contents, text) == []
    contents[3] = b"x" * 32
    assert changed_since(whole, contents, text) == [whole.places[3].name]


@FAST
@given(st.integers(0, 9_999), st.booleans())
def test_images_of_the_same_bytes_stay_in_one_part(seed, in_groups):
    draw = torch.Generator().manual_seed(seed)
    targets = torch.randint(2, (60,), generator=draw).tolist()
    contents = [bytes([c]) * 32 for c in torch.randint(250, (60,), generator=draw).tolist()]
    groups = [f"g{n // 2}" for n in range(60)] if in_groups else None
    done = split(
        listing([0, 1, *targets[2:]], groups), validation=0.2, test=0.2, seed=0, contents=contents
    )
    part_of = {i: part for part, indices in done.parts.items() for i in indices.tolist()}
    for keys in (contents, groups or []):
        for key in set(keys):
            assert len({part_of[i] for i, each in enumerate(keys) if each == key}) == 1
    assert sum(map(len, done.parts.values())) == 60


def test_copies_in_the_sets_own_parts_and_under_other_labels_are_said():
    own = {"train": torch.tensor([0, 1, 2, 3]), "test": torch.tensor([4, 5])}
    contents = [bytes([c]) * 32 for c in (1, 2, 2, 3, 1, 4)]
    whole = listing([0, 0, 1, 1, 0, 1], parts=own)
    told = "1 image there more than once, with {}, as {} and {}; see `striate data check`"
    names = [place.name for place in whole.places]
    assert split(whole, validation=0, test=0, seed=0, contents=contents).notes == (
        told.format("copies in other parts", names[0], names[4]),
        told.format("other labels", names[1], names[2]),
    )


def test_a_part_that_there_is_not_is_refused_with_its_line():
    whole = listing([0, 1])
    text = write_split(whole)
    first = whole.places[0].name
    edited = text.replace(f"{first},class0,train", f"{first},class0,val")
    told = rf"line 2 of the split puts {first} into val, which is no part; it may be train, valid"
    with pytest.raises(DataError, match=told):
        apply_split(whole, edited)
    with pytest.raises(DataError, match=rf"line 4 of the split names {first} again; keep one of"):
        apply_split(whole, f"{text}{first},class0,test,,\n")


def test_parts_come_in_their_order():
    assert [*in_parts(["test", "validation", "train", "test"])] == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("fields", "facts", "told"),
    [
        ({"fold": "1/5", "test": 0.2}, {}, r"--test, --fold have no effect: digits has parts"),
        ({"group": "x"}, {}, r"--group has no effect: digits has parts of its own; leave it out"),
        ({"layout": "idx"}, {}, r"--layout has no effect: digits has parts"),
        ({"test": 0.2}, {"is_files": True, "parts": ("train", "test")}, "the set has a test part"),
        ({"validation": 0.2}, {"is_files": True, "parts": ("validation",)}, "a validation part"),
        ({"validation": 0.2, "fold": "1/2"}, {"is_files": True}, "--fold says what"),
    ],
)
def test_fields_without_effect_are_refused(fields, facts, told):
    recipe = Recipe(network="lenet5", data="digits", **fields)
    with pytest.raises(UsageError, match=told):
        check_data_fields(recipe, fields, **{"is_files": False, **facts})
    default = Recipe(network="lenet5", data="digits")
    check_data_fields(default, set(Recipe.model_fields), is_files=False, parts=("test",))


def test_fields_with_effect_are_let_through():
    recipe = Recipe(network="lenet5", data="./set", layout="idx", validation=0.2)
    check_data_fields(recipe, {"layout", "validation"}, is_files=False)
    recipe = Recipe(
        network="lenet5", data="./set", fold="2/5", test=0.3, group="(p)", layout="table"
    )
    check_data_fields(recipe, recipe.model_fields_set, is_files=True, parts=("train",))


@pytest.mark.parametrize("wrong", ["0/5", "6/5", "1/1", "a", "1:5", "1/5/2", ""])
def test_folds_are_counted_from_one(wrong):
    with pytest.raises(UsageError, match="needed is FOLD/FOLDS, two folds or more, counted from 1"):
        Recipe(network="lenet5", data="digits", fold=wrong)
    assert Recipe(network="lenet5", data="digits", fold=" 02 / 5").fold == "2/5"
