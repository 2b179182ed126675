"""The published weights by name: for which network, where they lie, how to know them again.

No torch here: `striate models` reads this table. The files are torchvision's, which publishes the
first eight digits of each SHA-256 in the file's name. Its resnet50, 101 and 152 are the networks
that are called ``_v1_5`` here.

Source: torchvision 0.28, ``torchvision/models/{alexnet,vgg,googlenet,resnet}.py``: the addresses;
``torchvision/transforms/_presets.py``: mean and deviation.
"""

from dataclasses import dataclass

FOLDER = "https://download.pytorch.org/models/"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PublishedWeights:
    """A published file of weights.

    Attributes:
        network: The network it is for, and no other.
        address: Where it lies on the web.
        sha256: Of the file, in hexadecimal, as many digits as are published.
        mean: For each channel, what the network's input is centred on, in [0, 1].
        std: For each channel, what it is divided by.
    """

    network: str
    address: str
    sha256: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def file(self) -> str:
        """The file's name, the last part of its address."""
        return self.address.rpartition("/")[2]


def _torchvision(file: str, network: str, version: int = 1) -> dict[str, PublishedWeights]:
    """Name a file of torchvision after the network here and torchvision's name of the weights."""
    digits = file.removesuffix(".pth").rpartition("-")[2]
    return {f"{network}-imagenet1k-v{version}": PublishedWeights(network, FOLDER + file, digits)}


PUBLISHED: dict[str, PublishedWeights] = {
    **_torchvision("alexnet-owt-7be5be79.pth", "alexnet_torchvision"),
    **_torchvision("vgg11-8a719046.pth", "vgg11"),
    **_torchvision("vgg13-19584684.pth", "vgg13"),
    **_torchvision("vgg16-397923af.pth", "vgg16"),
    **_torchvision("vgg19-dcbb9e9d.pth", "vgg19"),
    # Brought over from TensorFlow: it reads images in [-1, 1].
    "googlenet_torchvision-imagenet1k-v1": PublishedWeights(
        *("googlenet_torchvision", f"{FOLDER}googlenet-1378be20.pth", "1378be20"),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    **_torchvision("resnet18-f37072fd.pth", "resnet18"),
    **_torchvision("resnet34-b627a593.pth", "resnet34"),
    **_torchvision("resnet50-0676ba61.pth", "resnet50_v1_5"),
    **_torchvision("resnet50-11ad3fa6.pth", "resnet50_v1_5", version=2),
    **_torchvision("resnet101-63fe2227.pth", "resnet101_v1_5"),
    **_torchvision("resnet101-cd907fc2.pth", "resnet101_v1_5", version=2),
    **_torchvision("resnet152-394f9c45.pth", "resnet152_v1_5"),
    **_torchvision("resnet152-f82ba261.pth", "resnet152_v1_5", version=2),
}
