"""Which parts of a network move, and how fast: frozen parts, learning rates by layer."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from striate.errors import UsageError, did_you_mean
from striate.optimization import Role
from striate.recipes import Recipe
from striate.runs import network_options
from striate.weights_fitting import layout_of

ALL_BUT_HEAD = "all-but-head"


def stages(network: nn.Module) -> list[list[str]]:
    """List a network's parameters by stages, from the image to the answer.

    A stage is a part of the network; a row of parts (``nn.Sequential``, ``nn.ModuleList``) is
    several. Normalisation belongs to the stage before it.

    Args:
        network: Whose parts are defined in the order in which they compute.

    Returns:
        Names of the parameters of each stage.

    Example:
        >>> stages(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()))
        [['0.weight', '0.bias', '1.weight', '1.bias']]
    """
    found: list[list[str]] = []
    for name, part in _parts(network, ""):
        names = [f"{name}{each}" for each, _ in part.named_parameters()]
        # A parameter that several parts share is moved by the first.
        known = {each for stage in found for each in stage}
        names = [each for each in names if each not in known]
        only_scales = all(parameter.ndim < 2 for parameter in part.parameters())
        if names and only_scales and found:
            found[-1] += names
        elif names:
            found.append(names)
    own = [name for name, _ in network.named_parameters(recurse=False)]
    return [own, *found] if own else found


def _parts(module: nn.Module, prefix: str) -> list[tuple[str, nn.Module]]:
    parts = []
    for name, child in module.named_children():
        inside = f"{prefix}{name}."
        rows = isinstance(child, (nn.Sequential, nn.ModuleList))
        parts += _parts(child, inside) if rows else [(inside, child)]
    return parts


def tune(network: nn.Module, recipe: Recipe) -> list[Role] | None:
    """Freeze what a recipe freezes, and say how the parameters of a network take part.

    Args:
        network: In training mode; it is changed.
        recipe: ``freeze``, ``layer_decay``, ``layer_rates`` and ``optimizer``.

    Returns:
        One role for each parameter; None where all are alike.

    Raises:
        UsageError: The network has no part of a name, nothing is left to train, or a choice
            would have no effect.
    """
    tuned = recipe.freeze or recipe.layer_rates or recipe.layer_decay < 1
    if not tuned and recipe.optimizer != "muon":
        return None
    head = head_of(recipe.network, network, network_options(recipe))
    freeze(network, recipe, head)
    return roles(network, recipe, head)


def head_of(name: str, network: nn.Module, options: Mapping[str, Any]) -> set[str]:
    """Name the parameters whose sizes follow from the number of classes, or the last stage's.

    Args:
        name: Of the network.
        network: Built.
        options: With which it was built.
    """
    names = {each for each, _ in network.named_parameters()}
    return names & layout_of(name, **options).head.keys() or set(stages(network)[-1])


def freeze(network: nn.Module, recipe: Recipe, head: set[str]) -> None:
    """Let the parts that a recipe freezes stay as they are; batch normalisation there evaluates.

    Args:
        network: In training mode; it is changed.
        recipe: ``freeze``.
        head: Of the network's parameters those of the classifier.

    Raises:
        UsageError: The network has no part of that name, or nothing is left to train.
    """
    if not recipe.freeze:
        return
    parameters = dict(network.named_parameters())
    if recipe.freeze == (ALL_BUT_HEAD,):
        frozen = parameters.keys() - head
    else:
        check_names("freeze", recipe.freeze, network, also=[ALL_BUT_HEAD])
        frozen = {name for name in parameters if any(_within(name, p) for p in recipe.freeze)}
    if len(frozen) == len(parameters):
        raise UsageError(
            f"freeze {','.join(recipe.freeze)} leaves nothing of {recipe.network} to train; name "
            f"fewer parts, or give --freeze {ALL_BUT_HEAD}"
        )
    for name in frozen:
        parameters[name].requires_grad_(False)
    for name, module in network.named_modules():
        own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
        named = any(_within(name, prefix) for prefix in recipe.freeze)
        if isinstance(module, _BatchNorm) and (not any(own) if own else named):
            module.eval()


def roles(network: nn.Module, recipe: Recipe, head: set[str]) -> list[Role]:
    """Say how each parameter of a network takes part.

    With ``layer_decay`` d the classifier has the full rate, the last stage before it d times
    it, the one before d squared, down to the image. Parts that ``layer_rates`` names have the
    factor that it gives instead; the longest name that fits decides.

    Args:
        network: Any.
        recipe: ``layer_decay`` and ``layer_rates``.
        head: Of the network's parameters those of the classifier.

    Returns:
        One for each parameter, in the order of ``network.parameters()``.

    Raises:
        UsageError: The network has no part of that name.

    Source:
        J. Howard and S. Ruder, "Universal language model fine-tuning for text classification",
        2018, where d is 1 / 2.6; K. Clark et al., "ELECTRA", 2020; H. Bao et al., "BEiT", 2021.
    """
    check_names("layer_rates", recipe.layer_rates, network)
    body = [stage for stage in stages(network) if head.isdisjoint(stage)]
    factors = {
        name: recipe.layer_decay ** (len(body) - place)
        for place, stage in enumerate(body)
        for name in stage
    }
    result = []
    for name, _ in network.named_parameters():
        named = [prefix for prefix in recipe.layer_rates if _within(name, prefix)]
        factor = factors.get(name, 1.0)
        if named:
            factor = recipe.layer_rates[max(named, key=len)]
        result.append(Role(factor, name not in head))
    _refuse_idle(network, recipe, result)
    return result


def _refuse_idle(network: nn.Module, recipe: Recipe, chosen: list[Role]) -> None:
    moving = [
        (name, role)
        for (name, parameter), role in zip(network.named_parameters(), chosen, strict=True)
        if parameter.requires_grad
    ]
    if recipe.layer_decay < 1 and all(role.factor == 1 for _, role in moving):
        raise UsageError("layer_decay does nothing: only the classifier trains; leave it out")
    for prefix in recipe.layer_rates:
        if not any(_within(name, prefix) for name, _ in moving):
            raise UsageError(f"layer_rates: {prefix} is frozen; leave it out of one of the two")


def check_names(
    field: str, names: Collection[str], network: nn.Module, also: Collection[str] = ()
) -> None:
    """Refuse names that are neither parts nor parameters of a network.

    Args:
        field: Of the recipe, for the message.
        names: Those to look for.
        network: Any; of its parts those without parameters do not count.
        also: Further names that may be given.

    Raises:
        UsageError: With the nearest name.
    """
    parts = [name for name, part in network.named_modules() if name and [*part.parameters()]]
    known = [*parts, *(name for name, _ in network.named_parameters()), *also]
    for name in names:
        if name not in known:
            answer = did_you_mean(name, known)
            if not answer.startswith("did"):
                answer = did_you_mean(name, [each for each in known if "." not in each])
            raise UsageError(f"{field}: the network has no part {name!r}; {answer}")


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
