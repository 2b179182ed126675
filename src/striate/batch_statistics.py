"""Batch normalisation over the whole batch of several processes, as one process would do it."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from striate import distributed


class WholeBatchNorm(_BatchNorm):
    """PyTorch's batch normalisation with the mean and variance of all processes' images.

    Counts, means and sums of squared deviations of the processes are put together as in Chan,
    Golub and LeVeque, which is as exact as two passes; a process without images adds nothing. The
    gradients are those of the whole batch. In evaluation it is PyTorch's own.

    Args:
        layer: The layer to take over: its parameters and buffers are shared, under their names.

    Shape:
        - input: ``(N, C)`` or ``(N, C, *spatial)`` with one to three axes, N may be 0
        - output: the same

    Raises:
        ValueError: In training, the whole batch has one value for each map.

    Source:
        S. Ioffe and C. Szegedy, "Batch normalization", 2015. T. F. Chan, G. H. Golub and R. J.
        LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    Example:
        >>> own, x = nn.BatchNorm2d(3), torch.randn(4, 3, 5, 5)
        >>> torch.allclose(WholeBatchNorm(own)(x), nn.BatchNorm2d(3)(x), atol=1e-6)  # alone
        True
    """

    def __init__(self, layer: _BatchNorm) -> None:
        super().__init__(
            layer.num_features, layer.eps, layer.momentum, affine=False, track_running_stats=False
        )
        self.affine, self.track_running_stats = layer.affine, layer.track_running_stats
        self.weight, self.bias = layer.weight, layer.bias
        self.running_mean, self.running_var = layer.running_mean, layer.running_var
        self.num_batches_tracked = layer.num_batches_tracked
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every map."""
        if not self.training and self.running_mean is not None:
            return F.batch_norm(
                *(x, self.running_mean, self.running_var, self.weight, self.bias), eps=self.eps
            )
        count, mean, variance = _whole(x.detach())
        if count < 2:
            raise ValueError(
                "batch normalisation met one value for each map in the batch of all processes; "
                "take a larger batch_size"
            )
        if self.training and self.running_mean is not None:
            self._track(count, mean, variance)
        answer = _Normalize.apply(x, self.weight, self.bias, mean, variance, count, self.eps)  # type: ignore[no-untyped-call]
        return cast(Tensor, answer)

    @torch.no_grad()
    def _track(self, count: int, mean: Tensor, variance: Tensor) -> None:
        """Move the running mean and the running variance, the latter without bias."""
        tracked = self.num_batches_tracked
        if tracked is not None:
            tracked.add_(1)
        share = self.momentum
        if share is None:
            share = 1 / float(cast(Tensor, tracked))
        cast(Tensor, self.running_mean).lerp_(mean, share)
        cast(Tensor, self.running_var).lerp_(variance * (count / (count - 1)), share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any number of axes."""


def over_processes(network: nn.Module) -> None:
    """Let the batch normalisation of a network, in its place, see the batch of all processes.

    Without other processes it changes nothing. Names and values of its state stay.
    """
    if distributed.size() == 1:
        return
    for name, layer in list(network.named_modules()):
        if isinstance(layer, _BatchNorm) and not isinstance(layer, WholeBatchNorm):
            network.set_submodule(name, WholeBatchNorm(layer))


def _axes(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _wide(x: Tensor) -> Tensor:
    """Give numbers of half precision in single: sums over a batch would overflow in it."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _column(values: Tensor, x: Tensor) -> Tensor:
    """Lay a number for each map along the second axis of ``x``."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


def _whole(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """Measure the whole batch: values a map, mean and biased variance of each."""
    count = x.numel() // x.shape[1]
    own = torch.zeros(2 * x.shape[1] + 1, device=x.device, dtype=torch.float64)
    if count:
        variance, mean = torch.var_mean(_wide(x), _axes(x), correction=0)
        own = torch.cat([own[:1] + count, mean.double(), variance.double() * count])
    every = distributed.gather(own)
    counts = every[:, :1]
    means, squares = every[:, 1:].chunk(2, dim=1)
    whole = counts.sum()
    mean = (counts * means).sum(dim=0) / whole
    variance = (squares + counts * (means - mean).square()).sum(dim=0) / whole
    kind = _wide(x[:0]).dtype
    return int(whole), mean.to(kind), variance.to(kind)


class _Normalize(torch.autograd.Function):
    """Shift and scale by statistics of the whole batch, and differentiate through them."""

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: int,
        eps: float,
    ) -> Tensor:
        context.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        context.count = count
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = context.saved_tensors
        gradient, axes = _wide(gradients[0]), _axes(x)
        centred = _wide(x) - _column(mean, x)
        sums = torch.stack([gradient.sum(axes), (gradient * centred).sum(axes) * inverse])
        whole = distributed.add_up(sums) / context.count
        scale = inverse if weight is None else inverse * weight
        inner = gradient - _column(whole[0], x) - centred * _column(inverse * whole[1], x)
        of_weight = None if weight is None else sums[1].to(weight.dtype)
        of_bias = None if weight is None else sums[0].to(weight.dtype)
        return (inner * _column(scale, x)).to(x.dtype), of_weight, of_bias, *(None,) * 4
