"""A network's twin: its own modes, hooks and attributes, the same weights."""

from torch import nn


def twin(network: nn.Module) -> nn.Module:
    """Copy the modules of a network, but not their parameters and buffers, which are shared.

    What replaces a parameter in one, moving it to a device say, replaces it in the other.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> other = twin(layer).eval()
        >>> other.weight is layer.weight, layer.training
        (True, True)
    """
    made: dict[int, nn.Module] = {}

    def copied(module: nn.Module) -> nn.Module:
        if id(module) not in made:
            new = made[id(module)] = module.__new__(type(module))
            own = vars(new)
            for name, value in vars(module).items():
                own[name] = value.copy() if name.endswith("_hooks") else value
            children = vars(module)["_modules"].items()
            own["_modules"] = {n: None if child is None else copied(child) for n, child in children}
        return made[id(module)]

    return copied(network)
