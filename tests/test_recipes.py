"""The recipe reads back equal, refuses what it does not know, and is one definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from striate.errors import UsageError
from striate.recipe_values import read_yaml, recipe_fields
from striate.recipes import Recipe

RECIPE = Recipe(network="lenet5", data="digits")


@given(
    epochs=st.integers(1, 10**6),
    learning_rate=st.floats(1e-300, 1e300),
    milestones=st.dictionaries(st.integers(0, 500), st.floats(0, 2)),
    time=st.none() | st.floats(1e-6, 1e9),
    input_range=st.none() | st.tuples(st.floats(-9, 0), st.floats(0.1, 9)),
    data=st.text(min_size=1).filter(str.isprintable),
)
def test_every_recipe_reads_back_equal(data, milestones, **fields):
    changes = {"milestones": milestones, "schedule": "step"} if milestones else {}
    recipe = RECIPE.replace(data=data, **fields, **changes)
    again = Recipe.from_yaml(recipe.to_yaml())
    assert again == recipe
    assert again.model_fields_set == recipe.model_fields_set


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        RECIPE.epochs = 3


def test_replace_keeps_in_mind_what_was_given():
    assert RECIPE.replace(epochs=3).model_fields_set == {"network", "data", "epochs"}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10min", 600), ("1.5h", 5400), ("2 m", 120)]
)
def test_times_may_have_a_unit(text, seconds):
    assert RECIPE.replace(time=text).time == seconds


def test_options_given_as_text_are_read():
    recipe = RECIPE.replace(schedule="step", milestones="2:0.4, 5:0.2", input_range="-0.1,1.175")
    assert recipe.milestones == {2: 0.4, 5: 0.2}
    assert recipe.input_range == (-0.1, 1.175)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "--seed is -1; needed is 0 or more$"),
        ({"input_range": "1,1"}, "input_range needs its first number below its second"),
        ({"epoch": 3}, "a recipe has no 'epoch'; did you mean 'epochs'"),
        ({"epochs": 0}, "^--epochs is 0; needed is 1 or more$"),
        ({"momentum": 1}, "--momentum is 1; needed is less than 1$"),
        ({"rotation": 181}, "--rotation is 181; needed is at most 180$"),
        ({"rubbish": 0}, "--rubbish is 0; needed is more than 0$"),
        ({"width": "2.5"}, "--width is 2.5; needed is a whole number$"),
        ({"clip": "x"}, "--clip is x; needed is a number$"),
        ({"flip": "perhaps"}, "--flip is perhaps; needed is true or false$"),
        ({"tile": "6,x"}, "--tile is x; needed is a whole number$"),
        ({"network": 3}, "--network is 3; needed is text$"),
        ({"epochs": "many"}, "--epochs is many; needed is a whole number$"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan; needed is a finite number"),
        ({"optimizer": "sdg"}, "--optimizer is sdg; needed is 'sgd', 'adamw' or 'muon'"),
        ({"time": "3 weeks"}, "--time is 3 weeks; needed is a time in s, min or h, as 90s"),
        ({"milestones": "2,3", "schedule": "step"}, "--milestones is 2,3; needed is EPOCH:SHARE"),
        ({"milestones": {2: 0.1}}, "milestones work with schedule step only"),
        ({"schedule": "step"}, "schedule step needs milestones"),
        (
            {"label_smoothing": 0.1, "loss": "map"},
            "label_smoothing works with .*and the loss is map; leave it",
        ),
        (
            {"crop": "center", "side_range": "256,512"},
            "side_range works with crop random only; give --crop random too",
        ),
        ({"crop": "random", "side_range": "512,256"}, "side_range needs its first number above 0"),
        ({"crop": "random", "side_range": "512"}, "--side-range is 512; needed is two numbers"),
        ({"scales": "0,256"}, "scales need numbers above 0"),
        ({"crop": "corner"}, "--crop is corner; needed is 'center', 'random' or 'area'"),
        ({"nesterov": True, "momentum": 0}, "nesterov needs optimizer sgd with a momentum"),
        ({"nesterov": True, "optimizer": "adamw"}, "nesterov needs optimizer sgd"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes, message):
    with pytest.raises(UsageError, match=message) as refusal:
        RECIPE.replace(**changes)
    assert "\n" not in str(refusal.value)


def test_yaml_is_read_by_the_rules_of_1_2():
    text = (
        "a: 1e-4\nb: no\nc: 010\nd: 12:30\ne: 1_000\nf: .5\ng: ~\nh: true\ni: 0x1F\nj: 2026-11-23"
    )
    assert read_yaml(text) == {
        "a": 1e-4, "b": "no", "c": 10, "d": "12:30", "e": "1_000", "f": 0.5, "g": None,
        "h": True, "i": "0x1F", "j": "2026-11-23",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["0E0", "1e5", "010", "no", "null", "12:30", "true", "~", "ä: b"])
def test_names_that_look_like_values_stay_names(name):
    assert Recipe.from_yaml(RECIPE.replace(data=name).to_yaml()).data == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not YAML in line 1: expected ',' or ']', but got '<stream end>'"),
        ("- a\n- b", "a recipe is 'name: value' lines, not list"),
        (
            "!!python/object/apply:os.system [echo]",
            "not YAML in line 1: could not determine a constructor",
        ),
    ],
)
def test_text_that_is_no_recipe_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        read_yaml(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"recipe file .*absent\.yaml cannot be read"):
        recipe_fields(tmp_path / "absent.yaml")


def test_every_field_says_what_it_is():
    assert [n for n, f in Recipe.model_fields.items() if not f.description] == []
