"""The named sets: what each holds, where it comes from, and how to know its files again.

No torch here: `striate datasets` and every help text read this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

PARTS = ("train", "validation", "test")

Layout = Literal["idx", "cifar", "usps"]


class Member(NamedTuple):
    """A file inside a published archive.

    Attributes:
        path: Its name in the archive, and under the set's folder once unpacked.
        sha256: Of its content.
        size: [bytes].
    """

    path: str
    sha256: str
    size: int


class PublishedFile(NamedTuple):
    """A file as it lies at the set's addresses.

    Attributes:
        name: To be appended to an address.
        sha256: Of the file as it is sent, packed.
        size: [bytes].
        members: For an archive, the files to take out of it.
    """

    name: str
    sha256: str
    size: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """A published set of images under the name people give it.

    Attributes:
        name: What to type; also its folder's name under a data folder.
        title: One line for a table.
        image_shape: ``(C, H, W)`` of one image.
        classes: Names of the classes, in the order of the class indices.
        value_range: The stored values that mean black and white.
        parts: For each part that the set has, its number of images.
        source: Whom to cite.
        licence: As known; none was checked with the owners.
        layout: How its files are written; None for a set inside an installed package.
        addresses: Folders on the web that hold ``files``, to be tried in this order.
        files: What to fetch.
    """

    name: str
    title: str
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    value_range: tuple[float, float]
    parts: Mapping[str, int]
    source: str
    licence: str
    layout: Layout | None = None
    addresses: tuple[str, ...] = ()
    files: tuple[PublishedFile, ...] = ()


DIGITS = tuple("0123456789")

DATASETS: dict[str, NamedSet] = {
    "digits": NamedSet(
        name="digits",
        title="Handwritten digits of 13 writers, inside scikit-learn: no download",
        image_shape=(1, 8, 8),
        classes=DIGITS,
        value_range=(0, 16),
        parts={"train": 1_197, "validation": 300, "test": 300},
        source=(
            "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine "
            "Learning Repository, 1998, doi:10.24432/C50P49; its test part, as in scikit-learn"
        ),
        licence="CC BY 4.0 (UCI); scikit-learn, which ships the file, is BSD-3-Clause",
    ),
    "mnist": NamedSet(
        name="mnist",
        title="Handwritten digits, centred in 28x28 grey pixels",
        image_shape=(1, 28, 28),
        classes=DIGITS,
        value_range=(0, 255),
        parts={"train": 60_000, "test": 10_000},
        source=(
            'Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to '
            'document recognition", Proceedings of the IEEE 86(11), 1998'
        ),
        licence="commonly stated CC BY-SA 3.0 (Y. LeCun, C. Cortes)",
        layout="idx",
        addresses=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        files=(
            PublishedFile(
                "train-images-idx3-ubyte.gz",
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                9_912_422,
            ),
            PublishedFile(
                "train-labels-idx1-ubyte.gz",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                28_881,
            ),
            PublishedFile(
                "t10k-images-idx3-ubyte.gz",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                1_648_877,
            ),
            PublishedFile(
                "t10k-labels-idx1-ubyte.gz",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                4_542,
            ),
        ),
    ),
    "fashion-mnist": NamedSet(
        name="fashion-mnist",
        title="Garments from a shop's catalogue, 28x28 grey pixels",
        image_shape=(1, 28, 28),
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        value_range=(0, 255),
        parts={"train": 60_000, "test": 10_000},
        source=(
            'H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for '
            'benchmarking machine learning algorithms", arXiv:1708.07747, 2017'
        ),
        licence="MIT (Zalando SE)",
        layout="idx",
        addresses=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        files=(
            PublishedFile(
                "train-images-idx3-ubyte.gz",
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                26_421_880,
            ),
            PublishedFile(
                "train-labels-idx1-ubyte.gz",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                29_515,
            ),
            PublishedFile(
                "t10k-images-idx3-ubyte.gz",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                4_422_102,
            ),
            PublishedFile(
                "t10k-labels-idx1-ubyte.gz",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                5_148,
            ),
        ),
    ),
    "usps": NamedSet(
        name="usps",
        title="Digits from envelopes, deslanted, 16x16 grey pixels in -1..1",
        image_shape=(1, 16, 16),
        classes=DIGITS,
        value_range=(-1, 1),
        parts={"train": 7_291, "test": 2_007},
        source=(
            'the "zip code" files of T. Hastie, R. Tibshirani and J. Friedman, The Elements of '
            "Statistical Learning; made available by the neural network group at AT&T research "
            "labs; counts as in Y. LeCun et al., 1989"
        ),
        licence="none stated; for research",
        layout="usps",
        addresses=("https://hastie.su.domains/ElemStatLearn/datasets/",),
        files=(
            PublishedFile(
                "zip.train.gz",
                "66ebf231ab51f2cf6ac1a892d0f98ccffee1079d7a5db638c1f11f366046ca16",
                1_829_071,
            ),
            PublishedFile(
                "zip.test.gz",
                "8dacc3c6e136af6c3488de9e5113a7daf140c8c2f1f0b61c54ee02f03f1a962f",
                439_208,
            ),
        ),
    ),
    "cifar10": NamedSet(
        name="cifar10",
        title="Ten kinds of animals and vehicles, 32x32 colour pixels",
        image_shape=(3, 32, 32),
        classes=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
        value_range=(0, 255),
        parts={"train": 50_000, "test": 10_000},
        source='A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009',
        licence="none stated; cite the source",
        layout="cifar",
        addresses=("https://www.cs.toronto.edu/~kriz/",),
        files=(
            PublishedFile(
                "cifar-10-binary.tar.gz",
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                170_052_171,
                tuple(
                    Member(f"cifar-10-batches-bin/{name}.bin", sha256, 30_730_000)
                    for name, sha256 in (
                        (
                            "data_batch_1",
                            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                        ),
                        (
                            "data_batch_2",
                            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                        ),
                        (
                            "data_batch_3",
                            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                        ),
                        (
                            "data_batch_4",
                            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                        ),
                        (
                            "data_batch_5",
                            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                        ),
                        (
                            "test_batch",
                            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                        ),
                    )
                ),
            ),
        ),
    ),
}
