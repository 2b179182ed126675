"""How weights move: SGD and AdamW, averaged weights.

The two optimisers are PyTorch's, to the rounding. They are written out because the first use
of ``torch.optim`` imports PyTorch's compiler, which costs more than a second.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from striate.recipes import Recipe

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class Optimizer:
    """SGD with momentum, or AdamW, over a network's parameters.

    Args:
        parameters: The trainable parameters, in a fixed order.
        recipe: ``optimizer``, ``momentum``, ``nesterov``, ``weight_decay`` and ``clip``.

    Source:
        SGD: B. T. Polyak, 1964, and Y. Nesterov, 1983, in the form of I. Sutskever et al.,
        2013. AdamW: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> None:
        self.parameters: list[Tensor] = [
            parameter for parameter in parameters if parameter.requires_grad
        ]
        self.recipe = recipe
        self.steps = 0
        num_buffers = 2 if recipe.optimizer == "adamw" else 1 if recipe.momentum else 0
        self.buffers = [
            [torch.zeros_like(parameter) for parameter in self.parameters]
            for _ in range(num_buffers)
        ]

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move every parameter once by its gradient, then forget the gradients."""
        self.steps += 1
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in self.parameters
        ]
        if self.recipe.clip:
            length = torch.stack(torch._foreach_norm(gradients)).norm()
            torch._foreach_mul_(gradients, (self.recipe.clip / (length + 1e-6)).clamp(max=1))
        if self.recipe.optimizer == "adamw":
            self._step_adamw(gradients, learning_rate)
        else:
            self._step_sgd(gradients, learning_rate)
        for parameter in self.parameters:
            parameter.grad = None

    def _step_sgd(self, gradients: list[Tensor], learning_rate: float) -> None:
        decay, momentum = self.recipe.weight_decay, self.recipe.momentum
        if decay:
            torch._foreach_add_(gradients, self.parameters, alpha=decay)
        if momentum:
            velocities = self.buffers[0]
            torch._foreach_mul_(velocities, momentum)
            torch._foreach_add_(velocities, gradients)
            if self.recipe.nesterov:
                torch._foreach_add_(gradients, velocities, alpha=momentum)
            else:
                gradients = velocities
        torch._foreach_add_(self.parameters, gradients, alpha=-learning_rate)

    def _step_adamw(self, gradients: list[Tensor], learning_rate: float) -> None:
        means, squares = self.buffers
        torch._foreach_mul_(self.parameters, 1 - learning_rate * self.recipe.weight_decay)
        torch._foreach_lerp_(means, gradients, 1 - _BETAS[0])
        torch._foreach_mul_(squares, _BETAS[1])
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - _BETAS[1])
        bias_1, bias_2 = (1 - beta**self.steps for beta in _BETAS)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, math.sqrt(bias_2))
        torch._foreach_add_(roots, _EPSILON)
        torch._foreach_addcdiv_(self.parameters, means, roots, -learning_rate / bias_1)

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
