"""What has no dense form is refused, by the name of its layer where one is to blame."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import striate
from striate.dense_form import DenseForm, dense
from striate.errors import UsageError


def network():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 4), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(5 * 2 * 2, 7), nn.ReLU(inplace=True), nn.Linear(7, 3)),
    )


@pytest.mark.parametrize(
    ("layers", "window", "words"),
    [
        ([nn.Conv2d(1, 2, 3, padding=1)], 5, r"^0 \(Conv2d\) pads its maps.*only without padding"),
        ([nn.Conv2d(1, 2, 3, padding="same")], 5, r"^0 \(Conv2d\) pads its maps"),
        ([nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")], 5, r"^0 \(Conv2d\) pads"),
        ([nn.Conv2d(1, 2, 1), nn.ZeroPad2d(1)], 5, r"^1 \(ZeroPad2d\) pads its maps"),
        ([nn.Conv2d(1, 2, 1), nn.MaxPool2d(2, padding=1)], 5, r"^1 \(MaxPool2d\) pads its maps"),
        ([nn.Conv2d(1, 2, 1), nn.AvgPool2d(2, ceil_mode=True)], 5, r"^1 \(AvgPool2d\) slides win"),
        ([nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(2)], 5, r"^1 \(AdaptiveAvgPool2d\) pools \(5"),
        ([nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2)], 5, r"^1 \(InstanceNorm2d\) calls instance_n"),
        ([nn.Conv2d(1, 2, 1), nn.Upsample(scale_factor=2)], 5, r"^1 \(Upsample\) calls interpolat"),
        ([nn.Conv2d(1, 2, 1), nn.Softmax(dim=3)], 5, r"^1 \(Softmax\) calls softmax over the pl"),
        ([nn.Conv2d(1, 2, 1), nn.Linear(5, 2)], 5, r"^1 \(Linear\) calls linear over the places"),
        ([nn.Conv2d(1, 2, 1), nn.Flatten(), nn.LayerNorm(50)], 5, r"^2 \(LayerNorm\) calls layer"),
        ([nn.Conv2d(1, 2, 2)], 5, r"^Sequential answers a window with \(2, 4, 4\); one score"),
        (
            [nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False)],
            *(5, r"^1 \(BatchNorm2d\) takes its statistics from the windows"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_has_no_dense_form_is_refused_by_its_layer(layers, window, words):
    with pytest.raises(UsageError, match=words):
        dense(nn.Sequential(*layers), window)


class Odd(nn.Module):
    """A network whose ``forward`` does something that no dense form does."""

    def __init__(self, do):
        super().__init__()
        self.conv, self.do = nn.Conv2d(1, 2, 2), do
        self.places = nn.Parameter(torch.rand(4, 4))

    def forward(self, x):
        return self.do(self, self.conv(x)).mean((2, 3))


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (lambda self, x: x + self.places, r"^add \(add\) treats the places of a window by diff"),
        (lambda self, x: x - x.mean((2, 3), keepdim=True), r"^sub \(sub\) calls sub over the pl"),
        (lambda self, x: x.flip(3), r"^flip \(flip\) calls flip over the places"),
        (
            lambda self, x: x if x.amax((2, 3)).amax() > 0 else -x,
            "^bool: a condition needs the val",
        ),
        (lambda self, x: x - x.sum(), r"^sum \(sum\) calls sum over the places"),
        (lambda self, x: torch.fft.fft2(x).real, r"^fft_fft2 \(fft_fft2\) calls fft_fft2, which"),
        (lambda self, x: x.mT, r"^get \(get\) reads \.mT, which is not followed"),
        (lambda self, x: x[:, :, ::2] + x[:, :, :2], r"^add \(add\) calls add over the pl"),
        (lambda self, x: (x[:, :1].relu_(), x)[1], r"reads a map that was changed in place"),
        (lambda self, x: F.pad(x, (0, 0, 1, 0)), r"^pad \(pad\) pads its maps"),
        (lambda self, x: x.permute(0, 1, 3, 2), r"^permute \(permute\) calls permute over the"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_function_without_dense_form_is_refused_by_name(do, words):
    with pytest.raises(UsageError, match=words):
        dense(Odd(do), 5)


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        (lambda x: x.softmax(dim=0), r"^softmax \(softmax\) calls softmax over the places"),
        (lambda x: x.softmax(dim=-2), r"^softmax \(softmax\) calls softmax over the places"),
        (lambda x: x - x.mean(0, keepdim=True), r"^mean \(mean\) calls mean over the places"),
        (lambda x: x.reshape(-1), r"^reshape \(reshape\) calls reshape over the places"),
        (lambda x: x + torch.rand(len(x), 1), r"^add \(add\) calls add over the places"),
        (lambda x: (x, x), "^Mixing answers a window with a tuple that does not come from it, or"),
        (lambda x: x[:, 0], r"^Mixing answers a window with \(\); one score for each class"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_rows_that_would_be_mixed_are_refused(mix, words):
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return mix(self.conv(x).flatten(1))

    with pytest.raises(UsageError, match=words):
        dense(Mixing(), 3)


def test_a_network_that_mixes_windows_is_not_given_out():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.conv(x).flatten(1).flip(0)

    with pytest.raises(UsageError, match=r"^Mixing answers its windows differently.* of the larg"):
        dense(Mixing(), 3)


def test_batch_normalisation_in_training_is_refused_and_left_alone():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    form = dense(network, 3)  # made in evaluation, whatever the mode
    with pytest.raises(UsageError, match=r"^1 \(BatchNorm2d\) takes its statistics.*evaluation"):
        form(torch.rand(1, 1, 4, 5))
    assert int(network[1].num_batches_tracked) == 0
    assert form.eval()(torch.rand(1, 1, 4, 5)).shape == (1, 4, 2, 3)


@pytest.mark.parametrize("window", [0, -3, (), (5, 0), 4.0, "5"])
def test_a_window_that_is_none_is_refused(window):
    with pytest.raises(UsageError, match="a whole number of pixels, or one an axis, is needed"):
        dense(network(), window)


def test_only_modules_have_a_dense_form():
    with pytest.raises(UsageError, match=r"a torch\.nn\.Module is needed, not a function"):
        dense(lambda x: x, 5)


def test_a_window_that_the_network_does_not_take_is_refused_in_its_own_words():
    with pytest.raises(ValueError, match="reads windows of 95x95, not"):
        dense(striate.build("n4"), 94)
    with pytest.raises(UsageError, match=r"6 \(Linear\): 20 features are needed"):
        dense(network(), 19)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 1, 14, 20), "images of 14×20 are smaller than the window, 15×15; mirror"),
        ((1, 20, 20), r"images of shape \(1, 20, 20\): \(N, C, \*spatial\) with a side for each"),
    ],
)
def test_images_that_do_not_fit_are_refused(shape, words):
    form = dense(network(), (15, 15))
    with pytest.raises(UsageError, match=words):
        form(torch.zeros(shape))


def test_images_of_other_channels_are_refused():
    form = dense(network(), 15)
    with pytest.raises(UsageError, match=r"images of 3 channels: the network reads 1; give it"):
        form(torch.zeros(1, 3, 20, 20))


def test_a_network_without_convolutions_is_compared_before_its_first_answer():
    class Doubtful(nn.Module):
        def forward(self, x):
            return x.flatten(1).flip(0) if x.ndim == 4 else x.amax((2, 3, 4))

    form = dense(Doubtful(), 1)
    with pytest.raises(UsageError, match=r"^Doubtful answers its windows differently"):
        form(torch.rand(1, 2, 3, 3))
    assert form(torch.rand(1, 2, 2, 2, 2)).shape == (1, 2, 2, 2, 2)
    with pytest.raises(UsageError, match=r"^0 \(MaxPool2d\) slides a window of 5 over a map of 4"):
        dense(nn.Sequential(nn.MaxPool2d(5), nn.Flatten()), 4)(torch.rand(1, 1, 6, 6))
    form = dense(nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)), 4)
    assert isinstance(form, DenseForm)
    assert form(torch.rand(2, 3, 6, 7)).shape == (2, 2, 3, 4)
