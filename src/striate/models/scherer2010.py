"""Networks whose pooling is the only difference: Scherer, Müller and Behnke (2010).

Source: D. Scherer, A. Müller and S. Behnke, "Evaluation of pooling operations in convolutional
architectures for object recognition", ICANN 2010, LNCS 6354, pp. 92-101: sections 3 and 4,
Fig. 1, Tables 1 and 2.

    layer    NORB              Caltech-101        MNIST             NORB jittered-cluttered
    image    (N,  2, 96, 96)   (N,  3, 140, 140)  (N,   1, 28, 28)  (N,  2, 108, 108)
    c1       5x5 convolution   16x16              9x9               5x5
             (N, 16, 92, 92)   (N, 16, 125, 125)  (N, 112, 20, 20)  (N, 16, 104, 104)
    p2       4x4 pooling       5x5                5x5               9x9, overlap 4
             (N, 16, 23, 23)   (N, 16,  25,  25)  (N, 112,  4,  4)  (N, 16,  20,  20)
    c3       6x6 convolution   6x6                                  8x8
             (N, 32, 18, 18)   (N, 128, 20,  20)                    (N, 32,  13,  13)
    p4       3x3 pooling       5x5                                  5x5, overlap 3
             (N, 32,  6,  6)   (N, 128,  4,   4)                    (N, 32,   5,   5)
    f5       (N, 100)                                               (N, 100)
    output   (N,   5)          (N, 102)           (N,  10)          (N,   6)

    parameters  with max pooling   135,085   295,158   27,114   114,322
                with subsampling   135,181   295,446

Max pooling has no parameters and no squashing. Subsampling is tanh(beta * sum + b) with a
coefficient beta and a bias b for each map: the sum as in Eq. 1, where the text says average.
Fig. 1 of the paper labels the NORB network with 64 maps in c3 and 6 outputs (268,850
parameters); its text has 32 and 5, as here. Table 1 lists error rates under the caption of
recognition rates.

Departures from the paper, and what it leaves open:
    1. The output is linear and trained by cross-entropy; the paper's loss is not known here.
    2. Initial weights: not given. Here uniform in ±2.4 / fan-in, as LeCun's; beta and b start so
       that subsampling begins as tanh of the plain average.
    3. Learning rates and momentum: not given; ours. Caltech-101 is trained by mini-batches of 60
       with momentum; the paper uses RPROP on the whole set.
    4. Input: each channel is standardised by the training images, also NORB's raw stereo pairs;
       the faded borders of the Caltech images are left to whoever prepares the folder.
    5. The overlaps of Table 1 are missing: how wider windows meet the border is not known here.
       So are the window shapes of Table 2 (cone, pyramid, triangle, binomial): their weights are
       not printed.
    6. The refinement on hard patterns behind the paper's best results is missing.
"""

from collections import OrderedDict
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn

from striate.errors import require_choice
from striate.layers import Subsample, uniform_by_fan_in
from striate.recipes import Recipe


class Task(NamedTuple):
    """What a network has for one of the paper's data sets.

    Attributes:
        side: Of the images [pixels].
        maps: Of each convolution.
        kernel_sizes: Of each convolution.
        windows: Side of each pooling's window [pixels of its input].
        strides: Of each pooling [pixels of its input].
        hidden: Units between the last pooling and the output; 0 is no such layer.
    """

    side: int
    maps: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    windows: tuple[int, ...]
    strides: tuple[int, ...]
    hidden: int


Pooling = Literal["max", "subsampling", "average"]

TASKS = {
    "norb": Task(96, (16, 32), (5, 6), (4, 3), (4, 3), hidden=100),
    "caltech": Task(140, (16, 128), (16, 6), (5, 5), (5, 5), hidden=0),
    "mnist": Task(28, (112,), (9,), (5,), (5,), hidden=0),
    "jittered": Task(108, (16, 32), (5, 8), (9, 5), (5, 2), hidden=100),
}


class Scherer2010(nn.Module):
    """One of the paper's networks, with max pooling, subsampling or plain averages.

    Args:
        in_channels: Channels of the images.
        num_classes: Number of classes.
        task: Whose layers: "norb", "caltech", "mnist" or "jittered".
        pooling: "max" and "subsampling" are the paper's; "average" has no parameters.

    Shape:
        - images: ``(N, in_channels, side, side)``, float, mean 0 and variance 1
        - returns: logits, ``(N, num_classes)``

    Raises:
        ValueError: There is no such task or pooling; or the task's windows overlap, as those of
            "jittered", and are not max pooling's.

    Source:
        Scherer et al., 2010, sections 3 and 4.
    """

    def __init__(
        self,
        in_channels: int = 2,
        num_classes: int = 5,
        *,
        task: Literal["norb", "caltech", "mnist", "jittered"] = "norb",
        pooling: Pooling = "max",
    ) -> None:
        super().__init__()
        require_choice("task", task, TASKS)
        require_choice("pooling", pooling, get_args(Pooling))
        layout = TASKS[task]
        if pooling != "max" and layout.windows != layout.strides:
            raise ValueError(f"windows of {pooling} cannot overlap; choose pooling='max'")
        self.side = side = layout.side
        channels = in_channels
        layers: dict[str, nn.Module] = {}
        for number, maps in enumerate(layout.maps):
            place, kernel_size = 2 * number + 1, layout.kernel_sizes[number]
            window, stride = layout.windows[number], layout.strides[number]
            layers[f"c{place}"] = nn.Conv2d(channels, maps, kernel_size)
            layers[f"tanh{place}"] = nn.Tanh()
            if pooling == "max":
                pool: nn.Module = nn.MaxPool2d(window, stride)
            elif pooling == "subsampling":
                pool = nn.Sequential(Subsample(maps, window), nn.Tanh())
            else:
                pool = nn.AvgPool2d(window)
            layers[f"p{place + 1}"] = pool
            channels, side = maps, (side - kernel_size + 1 - window) // stride + 1
        layers["flatten"] = nn.Flatten()
        features = channels * side**2
        if layout.hidden:
            layers["f5"] = nn.Linear(features, layout.hidden)
            layers["tanh5"] = nn.Tanh()
            features = layout.hidden
        layers["output"] = nn.Linear(features, num_classes)
        self.layers = nn.Sequential(OrderedDict(layers))
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                uniform_by_fan_in(layer)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class."""
        if images.shape[2:] != (self.side, self.side):
            raise ValueError(
                f"this network reads images of {self.side}x{self.side}, "
                f"not {tuple(images.shape)}; resize them"
            )
        logits: Tensor = self.layers(images)
        return logits


# Epochs and batch of NORB are the paper's, the rest is ours, also in the recipes made from it.
_NORB = Recipe(
    network="scherer_norb",
    data="norb",
    epochs=1000,
    batch_size=60,
    learning_rate=0.003,
    momentum=0.9,
    schedule="cosine",
)
_CALTECH = _NORB.replace(network="scherer_caltech", data="caltech101", epochs=300)
_MNIST = _NORB.replace(
    network="scherer_mnist", data="mnist", epochs=20, learning_rate=0.01, schedule="one-cycle"
)

RECIPES = {
    "scherer_norb": _NORB,
    "scherer_norb_subsampling": _NORB.replace(network="scherer_norb_subsampling"),
    "scherer_caltech": _CALTECH,
    "scherer_caltech_subsampling": _CALTECH.replace(network="scherer_caltech_subsampling"),
    "scherer_jittered": _NORB.replace(network="scherer_jittered", data="norb-jittered"),
    "scherer_mnist": _MNIST,
    # The paper's 60 passes, one pattern at a time: slow, 3.6 million steps.
    "scherer_mnist-online": _MNIST.replace(
        epochs=60, batch_size=1, validation=0, learning_rate=0.001, momentum=0.0, schedule="cosine"
    ),
}
