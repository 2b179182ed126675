"""Networks and recipes by name: nothing is missing, everything builds, names need no torch."""

import math
import subprocess
import sys

import pytest
import torch

from striate.errors import UsageError
from striate.models import (
    NETWORKS,
    RECIPES,
    build,
    find_network,
    find_recipe,
    outline,
    with_defaults,
)
from striate.recipes import Recipe
from striate.tracing import trace

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
    "scherer_norb": 135_085,
    "scherer_norb_subsampling": 135_181,
    # 16 × (3 × 16² + 1) + 128 × (16 × 6² + 1) + 102 × (128 × 4² + 1), and 2 × (16 + 128)
    "scherer_caltech": 295_158,
    "scherer_caltech_subsampling": 295_446,
    "scherer_mnist": 27_114,
    # 16 × (2 × 5² + 1) + 32 × (16 × 8² + 1) + 100 × (32 × 5² + 1) + 6 × (100 + 1)
    "scherer_jittered": 114_322,
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
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet18_a": 11_515_688,
    "resnet34_a": 21_623_848,
    # 11,689,512 + 2 × (64² + 128) + (128² + 256) + (256² + 512) + (512² + 1024)
    "resnet18_c": 12_043_816,
    "resnet34_c": 22_716_840,
    "plain18": 11_515_688,
    "plain34": 21_623_848,
    "resnet50_v1_5": 25_557_032,
    "resnet101_v1_5": 44_549_160,
    "resnet152_v1_5": 60_192_808,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet1202": 19_421_274,
    "plain20": 269_722,
    "plain32": 464_154,
    "plain44": 658_586,
    "plain56": 853_018,
    "plain110": 1_727_962,
    "base_a": 839_242,
    "strided_a": 839_242,
    "convpool_a": 1_254_250,
    "allcnn_a": 1_254_250,
    "base_b": 885_610,
    "strided_b": 885_610,
    "convpool_b": 1_300_618,
    "allcnn_b": 1_300_618,
    "base_c": 954_730,
    "strided_c": 954_730,
    "convpool_c": 1_369_738,
    "allcnn_c": 1_369_738,
    # Those that move: 24 + 2 × (64 + 2 × 256) + 9 × (24 × 64 + 64² + 64 × 256 + 3 × 256²) + 2,560
    "airbench94": 1_971_352,
    "airbench94_narrow": 1_112_184,
    "n4": 219_290,
    # 48 × (16 + 1) + 48 × (48 × 16 + 1) + 48 × (48 × 25 + 1) + 200 × (48 × 25 + 1) + 2 × 201
    "ciresan65": 335_978,
    "unet": 31_030_658,
    "unet_padded": 31_030_658,
    "unet3d": 5_601_154,
    "vnet": 65_175_314,
    "vnet_released": 61_982_682,
}
# Of networks that label pixels: for which pixels of the paper's image they answer.
PIXELS = {
    "unet": (388, 388),
    "unet_padded": (512, 512),
    "unet3d": (64, 64, 64),
    "vnet": (64, 128, 128),
    "vnet_released": (64, 128, 128),
}
# What would take seconds to compute is traced here, and computed in the network's own tests.
MOST_MULTIPLY_ADDS = 300_000_000


def test_no_network_is_missing_from_the_table_of_parameters():
    assert set(PAPER_PARAMETERS) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_builds_and_maps_its_input_to_its_classes(name):
    network = NETWORKS[name]
    channels, *size = network.input_shape
    with torch.device("meta" if max(size) > 64 else "cpu"):
        built = build(name)
        other = build(name, in_channels=channels + 1, num_classes=7)
    traced = trace(built, network.input_shape)
    assert traced.parameters == PAPER_PARAMETERS[name]
    assert traced.unknown == ()
    answered = PIXELS[name] if network.task == "segmentation" else ()
    assert traced.output_shape == (network.num_classes, *answered)
    assert trace(other, (channels + 1, *size)).output_shape == (7, *answered)
    if max(size) <= 64 and traced.multiply_adds < MOST_MULTIPLY_ADDS:
        images = torch.zeros(3, *network.input_shape)
        assert built(images).shape == (3, network.num_classes, *answered)
        assert other(torch.zeros(3, channels + 1, *size)).shape == (3, 7, *answered)


WEIGHTED = ("Conv2d", "ConnectionTableConv", "Linear")


def layers_with_weights(name, **options):
    layers = trace(outline(name, **options), NETWORKS[name].input_shape).layers
    return [layer for layer in layers if layer.kind in WEIGHTED]


def test_the_network_of_1989_has_1_256_units_with_its_inputs():
    units = [math.prod(layer.output_shape) for layer in layers_with_weights("lecun1989")]
    assert units == [12 * 8 * 8, 12 * 4 * 4, 30, 10]
    assert 16 * 16 + sum(units) == 1_256


def test_the_network_of_1990_would_have_5_666_parameters_for_26_letters():
    # 104 + 8 + 512 + 24 + 5,018
    letters = trace(outline("lecun1990", num_classes=26), (1, 28, 28))
    assert letters.parameters == 5_666


def test_the_convolutions_and_dense_layers_of_lenet_5_make_325_680_products():
    # 25 × (6 × 784 + 60 × 100 + 16 × 120) + 120 × 84; neither subsampling nor the distances
    products = sum(layer.multiply_adds for layer in layers_with_weights("lenet5"))
    assert products == 325_680


def test_all_cnn_c_makes_271_million_products():
    products = trace(outline("allcnn_c"), (3, 32, 32)).multiply_adds
    assert products == pytest.approx(271e6, abs=0.5e6)


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


def test_a_network_without_channels_or_classes_is_refused():
    with pytest.raises(UsageError, match="in_channels is 0; a network needs 1 or more"):
        build("lenet5", in_channels=0)
    with pytest.raises(UsageError, match="num_classes is -1; a network needs 1 or more"):
        build("lenet5", num_classes=-1)


def test_a_network_takes_the_options_that_it_lets_its_user_set_and_refuses_others():
    narrow = build("unet_padded", width=4, depth=2, normalization="batch")
    assert narrow(torch.zeros(3, 1, 8, 12)).shape == (3, 2, 8, 12)
    assert outline("unet_padded", width=4).output.weight.shape == (2, 4, 1, 1)
    with pytest.raises(UsageError, match=r"unet has no 'widht' to set; did you mean 'width'\?"):
        build("unet", widht=4)
    with pytest.raises(UsageError, match="unet has no 'normalization' to set; known: depth, width"):
        outline("unet", normalization="batch")
    with pytest.raises(UsageError, match="lenet5 has no 'width' to set; it is built as published"):
        build("lenet5", width=4)


def test_what_an_answer_is_for_stands_with_the_network():
    tasks = {network.task for network in NETWORKS.values()}
    assert tasks == {"classification", "window", "segmentation"}
    assert (NETWORKS["n4"].task, NETWORKS["vnet"].task) == ("window", "segmentation")
    assert NETWORKS["lenet5"].task == "classification"
