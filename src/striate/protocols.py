"""Views of an image at test time, by the papers' names, and the average of the answers.

    single       1   the middle of the image, as in training's validation
    ten-crop    10   corners and middle of the middle square, and their mirror images: AlexNet
    dense        2   the whole image and its mirror image, at one scale: VGG, ResNet
    multi-scale 2×s  the same at s scales: VGG (3), ResNet (5)
    fifty-crop  50   5×5 places in the whole image, and their mirror images: VGG
    150-crop   150   the same at three scales: VGG
    144-crop   144   4 scales × 3 squares × (corners, middle, the square shrunk) × 2: GoogLeNet
    shifts       8   the image twice, it moved by a pixel up left and down right, and mirror images:
                     Jordan, for small images; the edge of what is moved is reflected

Windows are exact copies of the resized image's pixels, and mirror images of them, but for the
squares of 144-crop that are resized a second time, to the network's input. On a square
image the three squares of 144-crop are one, and count three times.

Over windows, softmax probabilities are averaged, as AlexNet, VGG and GoogLeNet do; over whole and
moved images what the recipe's ``view_average`` says: probabilities, as VGG does, or scores
(logits), as ResNet and Jordan do. A whole image's own scores are first averaged over its places,
by the network: by its ``to_dense()`` where it has that, by its global average pooling otherwise.

Source:
    A. Krizhevsky, I. Sutskever and G. E. Hinton, 2012; K. Simonyan and A. Zisserman, 2015;
    C. Szegedy et al., 2015; K. He, X. Zhang, S. Ren and J. Sun, 2016; K. Jordan, 2024.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.display import Progress
from striate.errors import UsageError
from striate.modes import evaluating
from striate.preparation import InputSpec, fit, middle, normalize, resize, size_with_side, to_unit
from striate.recipes import Recipe
from striate.scoring import batch_size_for, logits_of

PROTOCOLS = (
    *("single", "ten-crop", "dense", "multi-scale", "fifty-crop", "150-crop", "144-crop", "shifts"),
)
DENSE = ("dense", "multi-scale")

# The scales of VGG and GoogLeNet are for a network that reads this side; others in proportion.
PAPERS_SIDE = 224
VGG_STEP = 32
GOOGLENET_SIDES = (256, 288, 320, 352)
GRID = 5  # places of fifty-crop along each side


def scales_for(recipe: Recipe, spec: InputSpec) -> tuple[int, ...]:
    """Say at which shorter sides ``multi-scale`` and ``150-crop`` look at an image [pixels].

    The recipe's ``scales``; without them VGG's rule, Q in {S - 32, S, S + 32} for images trained
    at the side S, and both ends and the middle of a ``side_range``.

    Args:
        recipe: Of the run.
        spec: The network's input.

    Example:
        >>> spec = InputSpec(channels=3, image_size=(256, 341), input_size=(224, 224),
        ...                  mean=(0,) * 3, std=(1,) * 3, background=(0,) * 3)
        >>> scales_for(Recipe(network="vgg16", data="imagenet"), spec)
        (224, 256, 288)
    """
    if recipe.scales:
        return recipe.scales
    if recipe.side_range is not None:
        low, high = recipe.side_range
        return low, (low + high) // 2, high
    side = min(spec.image_size) if spec.has_window else min(spec.input_size)
    step = round(VGG_STEP * min(spec.input_size) / PAPERS_SIDE)
    return side - step, side, side + step


def check_protocol(protocol: str, network: nn.Module, recipe: Recipe, spec: InputSpec) -> None:
    """Refuse a protocol that a run's images or network do not allow, before any long work.

    Args:
        protocol: One of ``PROTOCOLS``.
        network: On any device; for dense views it is asked once at each size.
        recipe: Gives the scales.
        spec: The network's input.

    Raises:
        UsageError: There is no such protocol; its windows are as large as the image, which
            would make all views one; or the network does not read images of its sizes.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"no protocol is called {protocol!r}; known: {', '.join(PROTOCOLS)}")
    if protocol in ("single", "shifts"):
        return
    reads = f"{recipe.network} reads {'x'.join(map(str, spec.input_size))}"
    if protocol in DENSE:
        sides = scales_for(recipe, spec) if protocol == "multi-scale" else ()
        _ask_once(protocol, network, recipe, spec, sides)
        return
    sides = (min(spec.image_size),)
    if protocol == "150-crop":
        sides = scales_for(recipe, spec)
        if len(sides) != 3:
            raise UsageError(f"protocol 150-crop looks at three scales, the recipe names {sides}")
    least = max(spec.input_size)
    if protocol != "144-crop" and (min(sides) < least or max(sides) == least):
        raise UsageError(
            f"protocol {protocol} takes windows of larger images, but {reads} and this run has "
            f"its images at {', '.join(map(str, sides))}; train with a larger image_size"
        )
    if any(a < b for a, b in zip(spec.image_size, spec.input_size, strict=True)):
        raise UsageError(
            f"protocol {protocol} takes windows full of image, but {reads} and this run has its "
            f"images at {min(spec.image_size)}; train with image_size {least} or more"
        )


def _ask_once(
    protocol: str, network: nn.Module, recipe: Recipe, spec: InputSpec, sides: tuple[int, ...]
) -> None:
    asked = _dense_form(network)
    device = next(network.parameters()).device
    own = spec.image_size if spec.has_window else spec.input_size
    sizes = {size_with_side(own, side) for side in sides} or {own}
    for size in sorted(sizes - ({spec.input_size} if asked is network else set())):
        try:
            if min(size) < 1:
                raise ValueError(f"{size} is no size")
            with evaluating(network), torch.inference_mode():
                asked.eval()(torch.zeros(1, spec.channels, *size, device=device))
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"protocol {protocol} shows {recipe.network} images of "
                f"{'x'.join(map(str, size))}, which it refuses ({str(error).splitlines()[0]}); "
                "choose another protocol or scales"
            ) from error


def _dense_form(network: nn.Module) -> nn.Module:
    """Give the network that reads images of any size."""
    to_dense: Callable[[], nn.Module] | None = getattr(network, "to_dense", None)
    return network if to_dense is None else to_dense()


def views(images: Tensor, protocol: str, recipe: Recipe, spec: InputSpec) -> Iterator[Tensor]:
    """Give the views of a batch of images one after the other, each of all images.

    Args:
        images: ``(N, C, H, W)``, float in [0, 1], of any one size.
        protocol: One of ``PROTOCOLS``.
        recipe: Gives the scales.
        spec: The network's input.

    Yields:
        ``(N, C, *spec.input_size)``, or for dense views whole images of any size; in [0, 1].
    """
    if protocol == "single":
        yield fit(images, spec)
        return
    for view in _unmirrored(images, protocol, recipe, spec):
        yield view
        yield view.flip(-1)


def _unmirrored(images: Tensor, protocol: str, recipe: Recipe, spec: InputSpec) -> Iterator[Tensor]:
    side = min(spec.image_size)
    if protocol == "dense":
        yield _whole(images, side, spec) if spec.has_window else fit(images, spec)
    elif protocol == "shifts":
        yield from _moved(fit(images, spec))
    elif protocol == "multi-scale":
        for scale in scales_for(recipe, spec):
            yield _whole(images, scale, spec)
    elif protocol == "ten-crop":
        square = middle(_whole(images, side, spec), (side, side))
        yield from _cut(square, corners_and_middle((side, side), spec.input_size), spec)
    elif protocol == "144-crop":
        for scale in googlenet_sides(spec):
            for square in _squares(_whole(images, scale, spec)):
                places = corners_and_middle((scale, scale), spec.input_size)
                yield from _cut(square, places, spec)
                yield resize(square, spec.input_size)
    else:
        for scale in scales_for(recipe, spec) if protocol == "150-crop" else (side,):
            whole = _whole(images, scale, spec)
            yield from _cut(whole, grid(whole.shape[2:], spec.input_size), spec)


def _moved(images: Tensor) -> list[Tensor]:
    """Give images twice, and moved by a pixel up and left, down and right."""
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    return [images, images, padded[:, :, 2:, 2:], padded[:, :, :-2, :-2]]


def _whole(images: Tensor, side: int, spec: InputSpec) -> Tensor:
    """Resize images, with the frame that they stand in if there is one, to a shorter side."""
    framed = images if spec.has_window else fit(images, spec)
    return resize(framed, size_with_side(framed.shape[2:], side))


def _cut(images: Tensor, places: list[tuple[int, int]], spec: InputSpec) -> Iterator[Tensor]:
    height, width = spec.input_size
    for top, left in places:
        yield images[:, :, top : top + height, left : left + width]


def _squares(images: Tensor) -> Iterator[Tensor]:
    """Cut out the squares at the beginning, the middle and the end of the longer side."""
    height, width = images.shape[2:]
    side = min(height, width)
    for part in (0, 1, 2):
        top, left = ((length - side) * part // 2 for length in (height, width))
        yield images[:, :, top : top + side, left : left + side]


def googlenet_sides(spec: InputSpec) -> tuple[int, ...]:
    """Say at which shorter sides ``144-crop`` looks at an image [pixels]."""
    return tuple(round(s * min(spec.input_size) / PAPERS_SIDE) for s in GOOGLENET_SIDES)


def corners_and_middle(size: tuple[int, ...], window: tuple[int, ...]) -> list[tuple[int, int]]:
    """Say where windows lie in the four corners and the middle: tops and lefts.

    Args:
        size: Height and width of the image [pixels].
        window: Those of the windows.

    Returns:
        Five places: upper left, upper right, lower left, lower right, middle.

    Example:
        >>> corners_and_middle((256, 256), (224, 224))
        [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
    """
    bottom, right = (outer - inner for outer, inner in zip(size, window, strict=True))
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]


def grid(size: tuple[int, ...], window: tuple[int, ...]) -> list[tuple[int, int]]:
    """Say where windows lie on the regular grid of fifty-crop, 5×5: tops and lefts.

    Args:
        size: Height and width of the image [pixels].
        window: Those of the windows.

    Returns:
        25 places, row by row.
    """
    tops, lefts = (
        [round(step * (outer - inner) / (GRID - 1)) for step in range(GRID)]
        for outer, inner in zip(size, window, strict=True)
    )
    return list(itertools.product(tops, lefts))


@torch.inference_mode()
def averaged_scores(
    network: nn.Module,
    images: Tensor,
    value_range: tuple[float, float],
    spec: InputSpec,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
) -> Tensor:
    """Score every image by its views, in evaluation mode; each layer's mode is left as it was.

    Args:
        network: Images to logits.
        images: ``(N, C, H, W)`` as stored, on the network's device.
        value_range: Stored values that mean black and white.
        spec: The network's input.
        recipe: Gives the protocol, allowed by ``check_protocol``, its scales, what is averaged,
            and the memory format.
        progress: Called after each batch with the images done and the number of all.

    Returns:
        ``(N, classes)``, float32: the mean of the views' logits; or the logarithm of the mean
        of their probabilities, whose softmax is that mean.
    """
    protocol = recipe.protocol
    if protocol == "single":
        last = recipe.channels_last
        return logits_of(network, images, value_range, spec, channels_last=last)
    memory = torch.channels_last if recipe.channels_last else torch.contiguous_format
    asked, kind = network, "probabilities"
    if protocol in DENSE:
        asked, kind = _dense_form(network), recipe.view_average
    elif protocol == "shifts":
        kind = recipe.view_average
    answers: list[Tensor] = []
    done = 0
    with evaluating(network):
        asked.eval()
        for batch in torch.split(images, batch_size_for(spec)):
            views_scores = []
            for view in views(to_unit(batch, value_range), protocol, recipe, spec):
                prepared = normalize(view, spec).contiguous(memory_format=memory)
                views_scores.append(asked(prepared).double())
            answers.append(average(views_scores, kind).float())
            done += len(batch)
            if progress is not None:
                progress(done, len(images))
    return torch.cat(answers)


def average(scores: list[Tensor], kind: str) -> Tensor:
    """Average the scores of several views or networks.

    Args:
        scores: Each ``(N, classes)``.
        kind: ``"scores"``, or ``"probabilities"`` for their softmax.

    Returns:
        ``(N, classes)``: mean scores; or the logarithms of mean probabilities.

    Example:
        >>> views = [torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 99.0]])]
        >>> average(views, "probabilities").exp()
        tensor([[0.2500, 0.7500]])
    """
    together = torch.stack(scores)
    if kind == "scores":
        return together.mean(dim=0)
    return together.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(scores))
