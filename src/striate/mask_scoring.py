"""A network that labels pixels over whole images in memory: probabilities, turned views."""

from typing import cast

import torch
from torch import Tensor, nn

from striate.errors import UsageError
from striate.tiled_prediction import predict_tiled

VIEWS = ("single", "turns")


def check_views(protocol: str) -> None:
    """Refuse a protocol that is not one of pixels.

    Raises:
        UsageError: It is none of ``VIEWS``.
    """
    if protocol not in VIEWS:
        raise UsageError(
            f"protocol {protocol} is for labels of whole images; of pixels there are "
            f"{', '.join(VIEWS)}"
        )


@torch.inference_mode()
def probabilities(
    form: nn.Module,
    image: Tensor,
    protocol: str = "single",
    *,
    memory: str = "2GB",
    blend: bool = False,
) -> Tensor:
    """Give the probability of each class at each pixel.

    A volume is shown slice by slice, along its first axis, to a network that reads images.

    Args:
        form: The network in the form that answers for every pixel.
        image: ``(C, *spatial)``, standardised.
        protocol: ``"single"``, or ``"turns"``: the mean over right-angle turns and mirrors of
            the last two axes, each turned back: eight exact views, four where these axes have
            different lengths (turned by half a turn alone).
        memory: For the network's maps.
        blend: As for ``predict_tiled``.

    Returns:
        ``(K, *spatial)``, float32, on the processor.
    """
    if protocol == "single":
        return _shares(form, image, memory, blend)
    square = image.shape[-1] == image.shape[-2]
    quarters = range(4) if square else (0, 2)
    total: Tensor | None = None
    for quarter in quarters:
        for mirror in ([], [-1]):
            view = torch.rot90(image.flip(mirror), quarter, (-2, -1)).contiguous()
            answer = torch.rot90(_shares(form, view, memory, blend), -quarter, (-2, -1)).flip(
                mirror
            )
            total = answer if total is None else total + answer
    return cast(Tensor, total) / (2 * len(quarters))


def _shares(form: nn.Module, image: Tensor, memory: str, blend: bool) -> Tensor:
    logits = predict_tiled(form, image, memory=memory, return_logits=True, blend=blend)
    return torch.softmax(logits, dim=0)
