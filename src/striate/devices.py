"""Where tensors live and computing happens."""

import torch

from striate.errors import UsageError


def choose_device(name: str) -> torch.device:
    """Turn ``"auto"`` or a device's name into a device.

    Raises:
        UsageError: The device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {name!r} is not to be had here ({reason}); use cpu") from error
    return device
