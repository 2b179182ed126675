"""The model card says what a run is, how good it is, and how to use it."""

from striate.model_card import kept_row, model_card
from striate.preparation import InputSpec
from striate.recipes import Recipe
from striate.tile_input import TileSpec

SPEC = InputSpec(
    channels=1, image_size=(28, 26), input_size=(32, 32), mean=(0.1,), std=(0.3,), background=(0.0,)
)
RECIPE = Recipe(network="lenet5", data="mnist", epochs=20, seed=4)
ROW = {"validation_error": 0.0125}


def test_an_unfinished_run_says_how_far_it_is():
    card = model_card(RECIPE, SPEC, [f"c{n}" for n in range(23)], [ROW] * 3, None)
    assert "# lenet5 on mnist" in card
    assert "(23 classes), trained on `mnist` for 3 of 20 epochs with seed 4" in card
    assert "lowest validation error 1.25 %" in card
    assert "1 channel, resized to 28x26, network reads 32x32 pixels" in card
    assert "c19 …" in card
    assert "accuracy" not in card


def test_an_evaluation_is_named_with_its_data():
    evaluation = {"examples": 10_000, "data": "mnist", "part": "test", "accuracy": 0.9905}
    card = model_card(RECIPE, SPEC, ["0", "1"], [{"validation_error": None}], evaluation)
    assert "accuracy on 10,000 images of `mnist` (test): 99.05 %" in card
    assert "validation" not in card


def test_of_masks_the_epoch_that_is_kept_is_told_and_how_to_evaluate():
    keys = ("epoch", "validation_error", "validation_loss", "validation_dice")
    rows = [dict(zip(keys, values, strict=True)) for values in (
        (1, 0.2102, 0.5, 0.31), (2, 0.25, 0.6, 0.444), (3, 0.3, 0.4, 0.31),
    )]  # fmt: skip
    spec = TileSpec(channels=1, tile=(8, 8), intensity="set", mean=(0,), std=(1,), dtype="uint8",
                    modalities=("",))  # fmt: skip
    recipe = Recipe(network="unet_padded", data="/a/folder")
    card = model_card(recipe, spec, ["no", "yes"], rows, None)
    assert "- kept: epoch 2, highest validation Dice 0.444, error 25.00 %\n" in card
    assert "striate evaluate THIS_FOLDER --data FOLDER\n" in card
    assert kept_row(rows[::2])["epoch"] == 3  # of equal ones, that with the lower loss
    named = model_card(recipe.replace(data="isbi2012"), spec, ["no", "yes"], rows, None)
    assert "striate evaluate THIS_FOLDER\n" in named
