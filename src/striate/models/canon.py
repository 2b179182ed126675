"""The networks by name: how each is built, and what it is. Importing this needs no torch."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from striate.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """A network of the canon; calling it builds it, which imports its file.

    Attributes:
        module: The paper's file in this folder.
        builder: The class or function in it.
        input_shape: Channels and sides (height and width, or depth, height and width) that the
            paper's network reads.
        num_classes: Classes of the paper's network.
        paper: Authors and year.
        title: What it is, in a line.
        recipe: Name of the recipe that `striate train` starts from.
        options: Fixed arguments of the builder, for networks that share one.
        task: What an answer is for: the whole image, the pixel at the middle of a window, or
            each pixel.
        tunable: Arguments of the builder that a user may set.
    """

    module: str
    builder: str
    input_shape: tuple[int, ...]
    num_classes: int
    paper: str
    title: str
    recipe: str
    options: tuple[tuple[str, Any], ...] = ()
    task: Literal["classification", "window", "segmentation"] = "classification"
    tunable: tuple[str, ...] = ()

    def __call__(
        self, in_channels: int | None = None, num_classes: int | None = None, **options: Any
    ) -> "nn.Module":
        """Build the network with fresh weights; without arguments, the paper's."""
        for what, number in (("in_channels", in_channels), ("num_classes", num_classes)):
            if number is not None and number < 1:
                raise UsageError(f"{what} is {number}; a network needs 1 or more")
        for name in options:
            if not self.tunable:
                raise UsageError(f"{self.recipe} has no {name!r} to set; it is built as published")
            if name not in self.tunable:
                known = did_you_mean(name, self.tunable)
                raise UsageError(f"{self.recipe} has no {name!r} to set; {known}")
        builder = getattr(import_module(f"striate.models.{self.module}"), self.builder)
        network: nn.Module = builder(
            in_channels=self.input_shape[0] if in_channels is None else in_channels,
            num_classes=self.num_classes if num_classes is None else num_classes,
            **{**dict(self.options), **options},
        )
        return network


_SCHERER = "Scherer et al. 2010"
_SUBSAMPLING = (("pooling", "subsampling"),)
_HE = "He et al. 2015"
_AFTER_HE = "after He et al. 2015"
_CIRESAN = "Ciresan et al. 2012"
_RONNEBERGER = "Ronneberger et al. 2015"
_MILLETARI = "Milletari et al. 2016"

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
    "airbench94": Network(
        *("jordan2024", "Jordan2024", (3, 32, 32), 10, "Jordan 2024"),
        title="CIFAR-10 in seconds",
        recipe="airbench94",
    ),
    "airbench94_narrow": Network(
        *("jordan2024", "Jordan2024", (3, 32, 32), 10, "after Jordan 2024"),
        title="not the paper's: three quarters as wide",
        recipe="airbench94_narrow",
        options=(("width", 48),),
    ),
    "n4": Network(
        *("ciresan2012", "Ciresan2012", (1, 95, 95), 2, _CIRESAN),
        title="the pixel at the middle of 95x95",
        recipe="n4",
        task="window",
    ),
    "ciresan65": Network(
        *("ciresan2012", "Ciresan2012", (1, 65, 65), 2, f"after {_CIRESAN}"),
        title="not the paper's: 65x65",
        recipe="ciresan65",
        options=(("window", 65),),
        task="window",
    ),
    "unet": Network(
        *("unet", "UNet", (1, 572, 572), 2, _RONNEBERGER),
        title="unpadded, 572x572 to 388x388",
        recipe="unet",
        task="segmentation",
        tunable=("width", "depth"),
    ),
    "unet_padded": Network(
        *("unet", "UNetPadded", (1, 512, 512), 2, f"after {_RONNEBERGER}"),
        title="an answer for every pixel",
        recipe="unet_padded",
        task="segmentation",
        tunable=("width", "depth", "normalization"),
    ),
    "unet3d": Network(
        *("unet", "UNetPadded", (1, 64, 64, 64), 2, f"after {_RONNEBERGER}"),
        title="for volumes: padded, narrower, batch norm",
        recipe="unet3d",
        options=(("dims", 3), ("width", 32), ("depth", 3), ("normalization", "batch")),
        task="segmentation",
        tunable=("width", "depth", "normalization"),
    ),
    "vnet": Network(
        *("vnet", "VNet", (1, 64, 128, 128), 2, _MILLETARI),
        title="for volumes, as in the paper",
        recipe="vnet",
        task="segmentation",
        tunable=("width", "depth"),
    ),
    "vnet_released": Network(
        *("vnet", "VNet", (1, 64, 128, 128), 2, _MILLETARI),
        title="for volumes, as its authors released it",
        recipe="vnet_released",
        options=(("released", True),),
        task="segmentation",
        tunable=("width", "depth"),
    ),
}
