"""Networks and recipes by name: nothing is missing, everything builds, names need no torch."""

import subprocess
import sys

import pytest
import torch

from striate.errors import UsageError
from striate.models import NETWORKS, RECIPES, build, find_network, find_recipe, with_defaults
from striate.recipes import Recipe

# From the papers; a network that is missing here fails the test below it.
PAPER_PARAMETERS = {
    "lecun1989": 9_760,
    "lecun1989_relu": 80_378,  # 400 + 32 + 12,800 + 64 + 65,536 + 256 + 1,290
    "dense1989": 10_690,
    "lecun1990": 2_578,
    "lenet5": 60_000,
    "lenet5_relu": 61_706,
    "dense300": 238_510,
    "dense300_100": 266_610,
    "alexnet": 60_965_224,
    "alexnet_torchvision": 61_100_840,
    "vgg11": 132_863_336,
    "vgg11_lrn": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16_c": 133_638_952,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 13_378_280,  # 6,998,552 and two auxiliary classifiers
    "googlenet_torchvision": 13_004_888,  # 6,624,904 and two auxiliary classifiers
}


def test_no_network_is_missing_from_the_table_of_parameters():
    assert set(PAPER_PARAMETERS) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_builds_and_maps_its_input_to_its_classes(name):
    network = NETWORKS[name]
    channels, *size = network.input_shape
    # The large ones without a value: on the meta device there are shapes alone.
    device = "meta" if PAPER_PARAMETERS[name] > 1_000_000 else "cpu"
    with torch.device(device):
        built = build(name).eval()
        other = build(name, in_channels=channels + 1, num_classes=7).eval()
        images, others = torch.zeros(3, channels, *size), torch.zeros(3, channels + 1, *size)
    assert sum(p.numel() for p in built.parameters()) == PAPER_PARAMETERS[name]
    assert built(images).shape == (3, network.num_classes)
    assert other(others).shape == (3, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_s_own_recipe_exists_and_trains_it(name):
    assert find_recipe(NETWORKS[name].recipe).network == name


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_counts_as_given_in_every_field(name):
    recipe = find_recipe(name)
    assert recipe.model_fields_set == set(Recipe.model_fields)
    assert with_defaults(recipe) == recipe


def test_what_a_recipe_leaves_open_comes_from_its_network():
    completed = with_defaults(Recipe(network="lenet5", data="digits", momentum=0.5))
    own = find_recipe("lenet5")
    assert completed == own.replace(data="digits", momentum=0.5)
    assert completed.loss == "map"


def test_another_choice_does_not_inherit_what_belonged_to_the_first():
    adamw = with_defaults(Recipe(network="lenet5_relu", data="digits", optimizer="adamw"))
    assert (adamw.learning_rate, adamw.nesterov) == (0.002, False)
    given = Recipe(network="lenet5_relu", data="digits", optimizer="adamw", learning_rate=0.1)
    assert with_defaults(given).learning_rate == 0.1
    same = with_defaults(Recipe(network="lenet5_relu", data="digits", optimizer="sgd"))
    assert same == with_defaults(Recipe(network="lenet5_relu", data="digits"))


def test_a_name_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"no network is called 'lenet'; did you mean 'lenet5'\?"):
        find_network("lenet")
    with pytest.raises(UsageError, match=r"no recipe is called 'mnist99'; did you mean 'mnist-99'"):
        find_recipe("mnist99")


def test_names_need_no_torch():
    code = (
        "import sys, striate.models, striate.datasets, striate.cli;"
        "print({'torch', 'matplotlib', 'sklearn', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
