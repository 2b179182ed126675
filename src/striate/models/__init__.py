"""The networks by name, and the recipes by name. Importing this needs no torch."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from striate.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from striate.recipes import Recipe


@dataclass(frozen=True)
class Network:
    """A network of the canon; calling it builds it, which imports its file.

    Attributes:
        module: The paper's file in this folder.
        builder: The class or function in it.
        input_shape: Channels, height and width that the paper's network reads.
        num_classes: Classes of the paper's network.
        paper: Authors and year.
        title: What it is, in a line.
        recipe: Name of the recipe that `striate train` starts from.
        options: Fixed arguments of the builder, for networks that share one.
    """

    module: str
    builder: str
    input_shape: tuple[int, ...]
    num_classes: int
    paper: str
    title: str
    recipe: str
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(
        self, in_channels: int | None = None, num_classes: int | None = None
    ) -> "nn.Module":
        """Build the network with fresh weights; without arguments, the paper's."""
        for what, number in (("in_channels", in_channels), ("num_classes", num_classes)):
            if number is not None and number < 1:
                raise UsageError(f"{what} is {number}; a network needs 1 or more")
        builder = getattr(import_module(f"striate.models.{self.module}"), self.builder)
        network: nn.Module = builder(
            in_channels=self.input_shape[0] if in_channels is None else in_channels,
            num_classes=self.num_classes if num_classes is None else num_classes,
            **dict(self.options),
        )
        return network


_SCHERER = "Scherer et al. 2010"
_SUBSAMPLING = (("pooling", "subsampling"),)
_HE = "He et al. 2015"
_AFTER_HE = "after He et al. 2015"

NETWORKS: dict[str, Network] = {
    "lecun1989": Network(
        *("lecun1989", "LeCun1989", (1, 16, 16), 10, "LeCun et al. 1989"),
        title="the first trained end to end on digits",
        recipe="lecun1989",
    ),
    "lecun1989_relu": Network(
        *("lecun1989", "LeCun1989ReLU", (1, 28, 28), 10, "after LeCun et al. 1989"),
        title="not the paper's: ReLU, batch norm, wider",
        recipe="lecun1989_relu",
    ),
    "dense1989": Network(
        *("lecun1989", "Dense1989", (1, 16, 16), 10, "LeCun et al. 1989"),
        title="fully connected rival, 256-40-10",
        recipe="dense1989",
    ),
    "lecun1990": Network(
        *("lecun1990", "LeCun1990", (1, 28, 28), 10, "LeCun et al. 1990"),
        title="smaller still; later called LeNet-1",
        recipe="lecun1990",
    ),
    "lenet5": Network(
        *("lenet5", "LeNet5", (1, 32, 32), 10, "LeCun et al. 1998"),
        title="Table I and RBF output",
        recipe="lenet5",
    ),
    "lenet5_relu": Network(
        *("lenet5", "LeNet5ReLU", (1, 32, 32), 10, "after LeCun et al. 1998"),
        title="not the paper's: ReLU, max pooling",
        recipe="lenet5_relu",
    ),
    "dense300": Network(
        *("lenet5", "Dense1998", (1, 28, 28), 10, "LeCun et al. 1998"),
        title="fully connected rival, 28x28-300-10",
        recipe="dense300",
    ),
    "dense300_100": Network(
        *("lenet5", "Dense1998", (1, 28, 28), 10, "LeCun et al. 1998"),
        title="fully connected rival, 28x28-300-100-10",
        recipe="dense300_100",
        options=(("hidden", (300, 100)),),
    ),
    **{
        f"scherer_{name}": Network(
            *("scherer2010", "Scherer2010", input_shape, num_classes, _SCHERER),
            title=title,
            recipe=f"scherer_{name}",
            options=(("task", name.partition("_")[0]), *options),
        )
        for name, input_shape, num_classes, title, options in (
            ("norb", (2, 96, 96), 5, "NORB, max pooling", ()),
            ("norb_subsampling", (2, 96, 96), 5, "NORB, subsampling", _SUBSAMPLING),
            ("caltech", (3, 140, 140), 102, "Caltech-101, max pooling", ()),
            ("caltech_subsampling", (3, 140, 140), 102, "Caltech-101, subsampling", _SUBSAMPLING),
            ("mnist", (1, 28, 28), 10, "MNIST, max pooling", ()),
            ("jittered", (2, 108, 108), 6, "cluttered NORB, max pooling", ()),
        )
    },
    "alexnet": Network(
        *("alexnet", "AlexNet", (3, 227, 227), 1000, "Krizhevsky et al. 2012"),
        title="two groups, as on two GPUs",
        recipe="alexnet",
    ),
    "alexnet_torchvision": Network(
        *("alexnet", "AlexNetTorchvision", (3, 224, 224), 1000, "after Krizhevsky et al. 2012"),
        title="torchvision's, one tower",
        recipe="alexnet_torchvision",
    ),
    **{
        name: Network(
            *("vgg", "VGG", (3, 224, 224), 1000, "Simonyan & Zisserman 2014"),
            title=f"{configuration}: {what}",
            recipe=name,
            options=(("configuration", configuration),),
        )
        for name, configuration, what in (
            ("vgg11", "A", "8 convolutions of 3x3"),
            ("vgg11_lrn", "A-LRN", "A, response norm"),
            ("vgg13", "B", "10 convolutions of 3x3"),
            ("vgg16_c", "C", "B and 3 of 1x1"),
            ("vgg16", "D", "13 convolutions of 3x3"),
            ("vgg19", "E", "16 convolutions of 3x3"),
        )
    },
    "googlenet": Network(
        *("googlenet", "GoogLeNet", (3, 224, 224), 1000, "Szegedy et al. 2014"),
        title="with two auxiliary classifiers",
        recipe="googlenet",
    ),
    "googlenet_torchvision": Network(
        *("googlenet", "GoogLeNet", (3, 224, 224), 1000, "after Szegedy et al. 2014"),
        title="torchvision's, batch norm",
        recipe="googlenet_torchvision",
        options=(("torchvision", True),),
    ),
    **{
        f"resnet{depth}{ending}": Network(
            *("resnet", "ResNet", (3, 224, 224), 1000, paper),
            title=f"{depth} layers, {what}",
            recipe=f"resnet{depth}{ending}",
            options=(("depth", depth), *options),
        )
        for ending, depths, paper, what, options in (
            ("", (18, 34), _HE, "shortcuts B", ()),
            ("", (50, 101, 152), _HE, "bottlenecks", ()),
            ("_a", (18, 34), _HE, "shortcuts A", (("shortcuts", "A"),)),
            ("_c", (18, 34), _HE, "shortcuts C", (("shortcuts", "C"),)),
            ("_v1_5", (50, 101, 152), _AFTER_HE, "stride in the 3x3", (("stride_in_3x3", True),)),
        )
        for depth in depths
    },
    **{
        f"plain{depth}": Network(
            *("resnet", "ResNet", (3, 224, 224), 1000, _HE),
            title=f"{depth} layers, plain",
            recipe=f"plain{depth}",
            options=(("depth", depth), ("shortcuts", "none")),
        )
        for depth in (18, 34)
    },
    **{
        f"resnet{depth}": Network(
            *("resnet", "CifarResNet", (3, 32, 32), 10, _HE),
            title=f"{depth} layers, CIFAR-10",
            recipe=f"resnet{depth}",
            options=(("depth", depth),),
        )
        for depth in (20, 32, 44, 56, 110, 1202)
    },
    **{
        f"plain{depth}": Network(
            *("resnet", "CifarResNet", (3, 32, 32), 10, _HE),
            title=f"{depth} layers, CIFAR-10, plain",
            recipe=f"plain{depth}",
            options=(("depth", depth), ("shortcuts", "none")),
        )
        for depth in (20, 32, 44, 56, 110)
    },
    **{
        f"{form}_{stages}": Network(
            *("allcnn", "AllCNN", (3, 32, 32), 10, "Springenberg et al. 2015"),
            title=f"base {stages.upper()}, {what}",
            recipe=f"{form}_{stages}",
            options=(("stages", stages), ("form", form)),
        )
        for stages in "abc"
        for form, what in (
            ("base", "max pooling"),
            ("strided", "stride for pooling"),
            ("convpool", "convolution, max pooling"),
            ("allcnn", "convolution for pooling"),
        )
    },
}

# Papers whose networks have each a recipe of the same name.
_NAMED_ALIKE = ("scherer2010", "alexnet", "vgg", "googlenet", "resnet", "allcnn")

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
}


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


def build(name: str, in_channels: int | None = None, num_classes: int | None = None) -> "nn.Module":
    """Build a network by name, with fresh weights from torch's global generator.

    Args:
        name: A key of ``NETWORKS``.
        in_channels: Channels of the images; the paper's by default.
        num_classes: Number of classes; the paper's by default.

    Returns:
        The network in training mode: images to logits, ``(N, C, H, W)`` to ``(N, num_classes)``.

    Raises:
        UsageError: There is no network of that name.

    Example:
        >>> network = build("lecun1990")
        >>> sum(parameter.numel() for parameter in network.parameters())
        2578
    """
    return find_network(name)(in_channels, num_classes)


def outline(
    name: str, in_channels: int | None = None, num_classes: int | None = None
) -> "nn.Module":
    """Build a network by name without its weights, to be traced and counted, not to be run.

    Takes the arguments of ``build``. Its weights have shapes and no values.

    Raises:
        UsageError: There is no network of that name.

    Example:
        >>> network = outline("lenet5")
        >>> network.f6.weight.is_meta, sum(p.numel() for p in network.parameters())
        (True, 60000)
    """
    from striate.outlining import Outlining

    with Outlining():
        return find_network(name)(in_channels, num_classes)


def find_recipe(name: str) -> "Recipe":
    """Look a shipped recipe up by name; every one of its fields counts as given.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe is called {name!r}; {did_you_mean(name, RECIPES)}")
    from striate.recipes import Recipe

    recipe: Recipe = import_module(f"striate.models.{RECIPES[name]}").RECIPES[name]
    return Recipe(**recipe.model_dump())


# What a network's own recipe says of one choice does not fit another.
_BELONGS_TO: dict[str, dict[str, dict[str, Any]]] = {
    "optimizer": {
        "sgd": {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0},
        "adamw": {"learning_rate": 0.002, "nesterov": False, "weight_decay": 0.01},
    },
    "schedule": {
        name: {"milestones": {}} for name in ("constant", "step", "cosine", "one-cycle", "plateau")
    },
    "crop": {"center": {"side_range": None}, "area": {"side_range": None}, "random": {}},
    "loss": {name: {"label_smoothing": 0.0} for name in ("cross-entropy", "map", "squared-error")},
}


def with_defaults(recipe: "Recipe") -> "Recipe":
    """Fill the fields that a recipe leaves open with those of its network's own recipe."""
    own = find_recipe(find_network(recipe.network).recipe)
    fields = {name: getattr(recipe, name) for name in recipe.model_fields_set}
    for choice, others in _BELONGS_TO.items():
        if fields.get(choice, getattr(own, choice)) != getattr(own, choice):
            fields = {**others[fields[choice]], **fields}
    return own.replace(**fields)
