"""The networks by name, and the recipes by name. Importing this needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from striate.errors import UsageError, did_you_mean
from striate.models.canon import NETWORKS, Network

if TYPE_CHECKING:
    from torch import nn

    from striate.recipes import Recipe

__all__ = [
    "NETWORKS",
    "RECIPES",
    "Network",
    "build",
    "find_network",
    "find_recipe",
    "networks_by_paper",
    "outline",
    "with_defaults",
]

# Papers whose networks have each a recipe of the same name.
_NAMED_ALIKE = (
    *("scherer2010", "alexnet", "vgg", "googlenet", "resnet", "allcnn"),
    *("jordan2024", "ciresan2012", "unet", "vnet"),
)

# Name of a recipe → the file in this folder that holds it.
RECIPES: dict[str, str] = {
    "lecun1989": "lecun1989",
    "lecun1989-usps": "lecun1989",
    "lecun1989_relu": "lecun1989",
    "mnist-99": "lecun1989",
    "dense1989": "lecun1989",
    "dense1989-usps": "lecun1989",
    "lecun1990": "lecun1990",
    "lecun1990-usps": "lecun1990",
    "lenet5": "lenet5",
    "lenet5-mnist": "lenet5",
    "lenet5-mnist-distorted": "lenet5",
    "lenet5_relu": "lenet5",
    "dense300": "lenet5",
    "dense300_100": "lenet5",
    **{
        network.recipe: network.module
        for network in NETWORKS.values()
        if network.module in _NAMED_ALIKE
    },
    **{
        f"{network.recipe}-cifar10": network.module
        for network in NETWORKS.values()
        if network.builder in ("AllCNN", "CifarResNet")
    },
    "scherer_mnist-online": "scherer2010",
    "allcnn_c-cifar10-augmented": "allcnn",
    "cifar10-94": "jordan2024",
    "cifar10-10min": "jordan2024",
    "unet-isbi": "unet",
    "vnet-hippocampus": "vnet",
    "n4-isbi": "ciresan2012",
}


def names_of(builder: str) -> list[str]:
    """Name the networks that one class builds.

    Example:
        >>> names_of("LeCun1989")
        ['lecun1989']
    """
    return [name for name, network in NETWORKS.items() if network.builder == builder]


def networks_by_paper() -> dict[str, list[str]]:
    """Group the networks' names by paper; what came after a paper stands with it."""
    papers: dict[str, list[str]] = {}
    for name, network in NETWORKS.items():
        papers.setdefault(network.paper.removeprefix("after "), []).append(name)
    return papers


def find_network(name: str) -> Network:
    """Look a network up by name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in NETWORKS:
        raise UsageError(f"no network is called {name!r}; {did_you_mean(name, NETWORKS)}")
    return NETWORKS[name]


def build(
    name: str, in_channels: int | None = None, num_classes: int | None = None, **options: Any
) -> "nn.Module":
    """Build a network by name, with fresh weights from torch's global generator.

    Args:
        name: A key of ``NETWORKS``.
        in_channels: Channels of the images; the paper's by default.
        num_classes: Number of classes; the paper's by default.
        options: What else the network lets its user set, by the names in its ``tunable``.

    Returns:
        The network in training mode: images to logits, ``(N, C, *spatial)`` to
        ``(N, num_classes)``, or to ``(N, num_classes, *spatial)`` where each pixel is labelled.

    Raises:
        UsageError: There is no network of that name, or it has no such option.

    Example:
        >>> network = build("lecun1990")
        >>> sum(parameter.numel() for parameter in network.parameters())
        2578
        >>> build("unet_padded", width=8, depth=2).output
        Conv2d(8, 2, kernel_size=(1, 1), stride=(1, 1))
    """
    return find_network(name)(in_channels, num_classes, **options)


def outline(
    name: str, in_channels: int | None = None, num_classes: int | None = None, **options: Any
) -> "nn.Module":
    """Build a network by name without its weights, to be traced and counted, not to be run.

    Takes the arguments of ``build``. Its weights have shapes and no values.

    Raises:
        UsageError: There is no network of that name, or it has no such option.

    Example:
        >>> network = outline("lenet5")
        >>> network.f6.weight.is_meta, sum(p.numel() for p in network.parameters())
        (True, 60000)
    """
    from striate.outlining import Outlining

    with Outlining():
        return find_network(name)(in_channels, num_classes, **options)


def find_recipe(name: str) -> "Recipe":
    """Look a shipped recipe up by name; every one of its fields counts as given.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in RECIPES:
        otherwise = "give a network's name as in `striate models`, or a file .yaml"
        remedy = did_you_mean(name, RECIPES, otherwise)
        raise UsageError(f"no recipe is called {name!r}; {remedy}")
    from striate.recipes import Recipe

    recipe: Recipe = import_module(f"striate.models.{RECIPES[name]}").RECIPES[name]
    return Recipe(**recipe.model_dump())


# What a network's own recipe says of one choice does not fit another.
_BELONGS_TO: dict[str, dict[str, dict[str, Any]]] = {
    "optimizer": {
        "sgd": {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0},
        "adamw": {"learning_rate": 0.002, "nesterov": False, "weight_decay": 0.01},
        "muon": {
            "learning_rate": 0.02,
            "momentum": 0.95,
            "nesterov": False,
            "weight_decay": 0.0,
        },
    },
    "schedule": {
        name: {"milestones": {}} for name in ("constant", "step", "cosine", "one-cycle", "plateau")
    },
    "crop": {"center": {"side_range": None}, "area": {"side_range": None}, "random": {}},
    "loss": {
        name: {"label_smoothing": 0.0}
        for name in (
            *("cross-entropy", "map", "squared-error"),
            *("dice", "dice-plain", "cross-entropy+dice", "focal"),
        )
    },
}


def with_defaults(recipe: "Recipe") -> "Recipe":
    """Fill the fields that a recipe leaves open with those of its network's own recipe."""
    own = find_recipe(find_network(recipe.network).recipe)
    fields = {name: getattr(recipe, name) for name in recipe.model_fields_set}
    for choice, others in _BELONGS_TO.items():
        if fields.get(choice, getattr(own, choice)) != getattr(own, choice):
            fields = {**others[fields[choice]], **fields}
    return own.replace(**fields)
