"""How weights move: SGD, AdamW and Muon, averaged weights.

SGD and AdamW are PyTorch's, to the rounding. They are written out because the first use
of ``torch.optim`` imports PyTorch's compiler, which costs more than a second.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from striate.orthogonalization import orthogonalize
from striate.recipes import Recipe

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class Role(NamedTuple):
    """How a parameter takes part.

    Attributes:
        factor: What its learning rate is multiplied by.
        is_hidden: It does not belong to the classifier, which Muon leaves to SGD.
    """

    factor: float = 1.0
    is_hidden: bool = True


class _Moved(NamedTuple):
    """Parameters that move alike, what is kept of their gradients, by which rate and decay."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    buffers: list[list[Tensor]]
    rate: float
    decay: float


class Optimizer:
    """SGD with momentum, AdamW or Muon, over a network's parameters.

    Muon moves each hidden weight of two axes or more by the orthogonalised Nesterov momentum of
    its gradient, as the matrix (outputs, all the rest), times the root of outputs / rest where
    that is above 1; decay is decoupled. Biases, what normalisation scales by and the classifier
    move by SGD with Nesterov momentum, at the same rate.

    Args:
        parameters: In a fixed order; those that need no gradient stay.
        recipe: ``optimizer``, ``momentum``, ``nesterov``, ``weight_decay``, ``decay`` and ``clip``.
        roles: One for each parameter; by default all are alike.

    Source:
        SGD: B. T. Polyak, 1964, and Y. Nesterov, 1983, in the form of I. Sutskever et al.,
        2013. AdamW: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019.
        Muon: K. Jordan et al., 2024 (see ``orthogonalize``), with SGD beside it as in his
        training of CIFAR-10.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        recipe: Recipe,
        roles: Sequence[Role] | None = None,
    ) -> None:
        every = list(parameters)
        roles = roles or [Role()] * len(every)
        moving = [pair for pair in zip(every, roles, strict=True) if pair[0].requires_grad]
        self.parameters: list[Tensor] = [parameter for parameter, _ in moving]
        self.recipe = recipe
        self.steps = 0
        num_buffers = 2 if recipe.optimizer == "adamw" else 1 if recipe.momentum else 0
        self.buffers = [
            [torch.zeros_like(parameter) for parameter in self.parameters]
            for _ in range(num_buffers)
        ]
        # Places of the parameters that move alike: by one rate, as matrices or not, by one decay.
        self.groups: dict[tuple[float, bool, float], list[int]] = {}
        for place, (parameter, role) in enumerate(moving):
            as_matrix = recipe.optimizer == "muon" and role.is_hidden and parameter.ndim > 1
            decays = recipe.decay == "all" or parameter.ndim > 1
            decay = recipe.weight_decay if decays else 0.0
            self.groups.setdefault((role.factor, as_matrix, decay), []).append(place)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every parameter once by its gradient, then forget the gradients."""
        self.steps += 1
        every = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in self.parameters
        ]
        if self.recipe.clip:
            length = torch.stack(torch._foreach_norm(every)).norm()
            torch._foreach_mul_(every, (self.recipe.clip / (length + 1e-6)).clamp(max=1))
        for (factor, as_matrix, decay), places in self.groups.items():
            parameters, gradients, *buffers = (
                [tensors[place] for place in places]
                for tensors in (self.parameters, every, *self.buffers)
            )
            moved = _Moved(parameters, gradients, buffers, factor * learning_rate, decay)
            if self.recipe.optimizer == "adamw":
                self._step_adamw(moved)
            elif as_matrix:
                self._step_muon(moved)
            else:
                self._step_sgd(moved)
        for parameter in self.parameters:
            parameter.grad = None

    def _step_sgd(self, moved: _Moved) -> None:
        parameters, gradients, buffers, rate, decay = moved
        is_muon = self.recipe.optimizer == "muon"
        if decay and is_muon:
            torch._foreach_mul_(parameters, 1 - rate * decay)
        elif decay:
            torch._foreach_add_(gradients, parameters, alpha=decay)
        nesterov = self.recipe.nesterov or is_muon
        torch._foreach_add_(parameters, self._along(gradients, buffers, nesterov), alpha=-rate)

    def _along(
        self, gradients: list[Tensor], buffers: list[list[Tensor]], nesterov: bool
    ) -> list[Tensor]:
        """Let the momentum take the gradients up, and give the direction to move against."""
        momentum = self.recipe.momentum
        if not momentum:
            return gradients
        velocities = buffers[0]
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, gradients)
        if not nesterov:
            return velocities
        torch._foreach_add_(gradients, velocities, alpha=momentum)
        return gradients

    def _step_muon(self, moved: _Moved) -> None:
        parameters, gradients, buffers, rate, decay = moved
        directions = self._along(gradients, buffers, nesterov=True)
        if decay:
            torch._foreach_mul_(parameters, 1 - rate * decay)
        alike: dict[tuple[int, int], list[int]] = {}
        for place, parameter in enumerate(parameters):
            rows = len(parameter)
            alike.setdefault((rows, parameter.numel() // rows), []).append(place)
        for (rows, columns), places in alike.items():
            # reshape, not flatten: the order of the columns is that of the axes, not of memory
            stack = torch.stack([directions[place].reshape(rows, columns) for place in places])
            length = rate * math.sqrt(max(1.0, rows / columns))
            for place, direction in zip(places, orthogonalize(stack), strict=True):
                parameters[place].sub_(direction.view(parameters[place].shape), alpha=length)

    def _step_adamw(self, moved: _Moved) -> None:
        parameters, gradients, (means, squares), rate, decay = moved
        torch._foreach_mul_(parameters, 1 - rate * decay)
        torch._foreach_lerp_(means, gradients, 1 - _BETAS[0])
        torch._foreach_mul_(squares, _BETAS[1])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - _BETAS[1])
        bias_1, bias_2 = (1 - beta**self.steps for beta in _BETAS)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, math.sqrt(bias_2))
        torch._foreach_add_(roots, _EPSILON)
        torch._foreach_addcdiv_(parameters, means, roots, -rate / bias_1)

    def state(self) -> dict[str, Any]:
        """Give what a resumed run needs to go on exactly."""
        return {"steps": self.steps, "buffers": self.buffers}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` gave."""
        self.steps = state["steps"]
        for ours, theirs in zip(self.buffers, state["buffers"], strict=True):
            for mine, saved in zip(ours, theirs, strict=True):
                mine.copy_(saved)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, steps: int) -> None:
    """Move averaged weights towards a network's by an exponential moving average.

    Args:
        average: A copy of the network whose weights are the average.
        network: The network being trained.
        decay: How much of the average stays a step; less in the first steps, so that the
            initial weights are soon forgotten.
        steps: Steps done so far.
    """
    weight = 1 - min(decay, (1 + steps) / (10 + steps))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), weight)
    for ours, theirs in zip(average.buffers(), network.buffers(), strict=True):
        ours.copy_(theirs)
