"""What training refuses before it begins, and in what words."""

import pytest

from striate.errors import UsageError
from striate.training import train


def test_names_are_refused_before_any_data_are_read(recipe, tmp_path, small_set):
    for file in small_set.iterdir():
        file.write_bytes(b"damaged")
    with pytest.raises(UsageError, match="no network is called 'lenet6'; did you mean 'lenet5'"):
        train(recipe.replace(network="lenet6"), tmp_path / "run")
    with pytest.raises(UsageError, match="device 'cuda:77' is not to be had here"):
        train(recipe, tmp_path / "run", device="cuda:77")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"schedule": "plateau"}, "schedule plateau"), ({"patience": 2}, "patience")],
)
def test_choices_on_validation_need_a_validation_part(recipe, tmp_path, changes, name):
    with pytest.raises(UsageError, match=f"{name} needs a validation part"):
        train(recipe.replace(validation=0, **changes), tmp_path / "run")


def test_a_protocol_that_the_images_do_not_allow_is_refused_before_training(recipe, tmp_path):
    with pytest.raises(
        UsageError, match=r"ten-crop takes windows .* train with a larger image_size"
    ):
        train(recipe.replace(protocol="ten-crop"), tmp_path / "run")
    with pytest.raises(UsageError, match="multi-scale shows lecun1990 images of 24x24, which it"):
        train(recipe.replace(protocol="multi-scale"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_that_does_not_fit_the_images_is_told_at_once(recipe, tmp_path):
    wrong = {"pca_color": 0.1, "crop": "random", "image_size": 28, "protocol": "ten-crop"}
    words = (
        r"^lecun1990 and these images need other choices: "
        r"--pca-color 0 \(pca_color shifts [^;]*\); "
        r"--image-size above 28, or --crop center \(crop random [^;]*\); "
        r"--protocol single \(protocol ten-crop takes windows [^;]* at 28\)$"
    )
    with pytest.raises(UsageError, match=words):
        train(recipe.replace(**wrong), tmp_path / "run")
    with pytest.raises(UsageError, match=r"have 1 channel; give --pca-color 0$"):
        train(recipe.replace(pca_color=0.1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
