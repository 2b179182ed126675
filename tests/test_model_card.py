"""The model card says what a run is, how good it is, and how to use it."""

from striate.model_card import model_card
from striate.preparation import InputSpec
from striate.recipes import Recipe

SPEC = InputSpec(
    channels=1, image_size=(28, 26), input_size=(32, 32), mean=(0.1,), std=(0.3,), background=(0.0,)
)
RECIPE = Recipe(network="lenet5", data="mnist", epochs=20, seed=4)
ROW = {"validation_error": 0.0125}


def test_an_unfinished_run_says_how_far_it_is():
    card = model_card(RECIPE, SPEC, [f"c{n}" for n in range(23)], [ROW] * 3, None)
    assert "# lenet5 on mnist" in card
    assert "(23 classes), trained on `mnist` for 3 of 20 epochs with seed 4" in card
    assert "lowest validation error: 1.25 %" in card
    assert "1 channel, resized to 28x26, network reads 32x32 pixels" in card
    assert "c19 …" in card
    assert "accuracy" not in card


def test_an_evaluation_is_named_with_its_data():
    evaluation = {"examples": 10_000, "data": "mnist", "part": "test", "accuracy": 0.9905}
    card = model_card(RECIPE, SPEC, ["0", "1"], [{"validation_error": None}], evaluation)
    assert "accuracy on 10,000 images of `mnist` (test): 99.05 %" in card
    assert "validation" not in card
