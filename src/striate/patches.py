"""Tiles of images with masks, cut and changed at random: image, mask and weights together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from striate.augmentation import blur, hide_square, jitter, warps
from striate.batches import Batch
from striate.datasets.masks import IGNORED, MaskedImage
from striate.deformation import offsets, read_at
from striate.mirroring import mirrored_places
from striate.randomness import hashes, integers, normals, order, uniforms
from striate.recipes import Recipe
from striate.tile_input import Statistics, TileSpec, full_scale, standardize, statistics

# Places kept of each class and image, for tiles that sit on a class.
MOST_PLACES = 10_000
QUANTILES = 256


class _Ready(NamedTuple):
    """An image with all that tiles of it need.

    Attributes:
        image: ``(C, *spatial)``, as stored.
        mask: ``(*spatial)``.
        weights: ``(*spatial)``, or None.
        own: The statistics of the image, where it is standardised by them.
        places: For each class that is there but the first, indices into the flattened mask.
        quantiles: ``(C, QUANTILES)`` of the standardised values, or None.
        spacing: Of the pixels, or None.
    """

    image: Tensor
    mask: Tensor
    weights: Tensor | None
    own: Statistics | None
    places: tuple[Tensor, ...]
    quantiles: Tensor | None
    spacing: tuple[float, ...] | None


class Tiles:
    """Draws tiles; the tile at place ``index`` of an epoch depends on seed, epoch and index alone.

    Every image gives as many tiles as any other, to one. A tile's output lies inside the image
    where the image is large enough; what it sees beyond the border is mirrored.

    Args:
        part: The images that train, standardised as the spec says.
        spec: The network's input; its ``tile`` is what the network is shown at once.
        output: What it answers of that, a number for each spatial axis [pixels].
        recipe: Seed and augmentation.
        weights: For each image the weights of its pixels, or None.
    """

    def __init__(
        self,
        part: Sequence[MaskedImage],
        spec: TileSpec,
        output: tuple[int, ...],
        recipe: Recipe,
        weights: Sequence[Tensor] | None = None,
    ) -> None:
        self.spec, self.output, self.recipe = spec, output, recipe
        self.margins = [(a - b) // 2 for a, b in zip(spec.tile, output, strict=True)]
        self.ready = [
            _prepare(each, spec, recipe, None if weights is None else weights[number])
            for number, each in enumerate(part)
        ]

    def batch(self, epoch: int, indices: Tensor) -> Batch:
        """Cut a batch of tiles.

        Args:
            epoch: Counted from 0.
            indices: ``(N,)``, places in the epoch.

        Returns:
            Images ``(N, C, *tile)``, targets ``(N, *output)`` uint8, perhaps weights.
        """
        cut = [self._tile(epoch, index) for index in torch.split(indices, 1)]
        images, masks, weights = zip(*cut, strict=True)
        return Batch(
            indices,
            torch.stack(images),
            torch.stack(masks),
            None if weights[0] is None else torch.stack(weights),
        )

    def _tile(self, epoch: int, index: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        seed, count = self.recipe.seed, len(self.ready)
        place = int(index)
        passes = order(seed, epoch * 65_536 + place // count, count)
        number = int(passes[place % count])
        ready = self.ready[number]
        first = self._first(ready, epoch, index)
        if warps(self.recipe):
            image, mask, weights = self._deformed(ready, first, epoch, index)
        else:
            image, mask, weights = self._straight(ready, first)
        if self.recipe.match_histograms and ready.quantiles is not None:
            image = self._matched(image, ready.quantiles, epoch, index)
        image, mask, weights = _turned(self.recipe, epoch, index, image, mask, weights)
        return _changed_values(image, self.spec, self.recipe, epoch, index), mask, weights

    def _first(self, ready: _Ready, epoch: int, index: Tensor) -> list[int]:
        """Draw where a tile's output begins in its image."""
        seed, size = self.recipe.seed, ready.mask.shape
        at = uniforms(seed, epoch, index, "place", len(size))[0].tolist()
        free = [n - out for n, out in zip(size, self.output, strict=True)]
        chosen = [int(u * (f + 1)) if f >= 0 else f // 2 for u, f in zip(at, free, strict=True)]
        sit = uniforms(seed, epoch, index, "rare", 1)[0, 0]
        if not ready.places or sit >= self.recipe.rare:
            return chosen
        kind, which = hashes(seed, epoch, index, "rare place", 2)[0].tolist()
        places = ready.places[kind % len(ready.places)]
        middle = np.unravel_index(int(places[which % len(places)]), size)
        return [
            min(max(int(m) - out // 2, 0), f) if f >= 0 else f // 2
            for m, out, f in zip(middle, self.output, free, strict=True)
        ]

    def _straight(
        self, ready: _Ready, first: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Copy pixels exactly, mirrored beyond the border."""
        image, mask, weights = ready.image, ready.mask, ready.weights
        for axis, (start, margin) in enumerate(zip(first, self.margins, strict=True)):
            size = ready.mask.shape[axis]
            wide = mirrored_places(start - margin, start - margin + self.spec.tile[axis], size)
            inner = mirrored_places(start, start + self.output[axis], size)
            image = image.index_select(axis + 1, wide)
            mask = mask.index_select(axis, inner)
            weights = None if weights is None else weights.index_select(axis, inner)
        return standardize(image, self.spec, ready.own), mask, weights

    def _deformed(
        self, ready: _Ready, first: Sequence[int], epoch: int, index: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Read between the pixels: the image linearly, mask and weights at the nearest pixel."""
        moved = offsets(self.recipe, epoch, index, self.spec.tile, ready.spacing)
        middle = torch.tensor(
            [s + (out - 1) / 2 for s, out in zip(first, self.output, strict=True)]
        )
        near, places = _around(ready.image, moved + middle)
        image = read_at(standardize(near, self.spec, ready.own), places)
        for axis, (margin, out) in enumerate(zip(self.margins, self.output, strict=True)):
            moved = moved.narrow(axis, margin, out)
        near, places = _around(ready.mask[None], moved + middle)
        mask = read_at(near.float(), places, nearest=True)[0].to(torch.uint8)
        weights = None
        if ready.weights is not None:
            near, places = _around(ready.weights[None], moved + middle)
            weights = read_at(near, places, nearest=True)[0]
        return image, mask, weights

    def _matched(self, image: Tensor, own: Tensor, epoch: int, index: Tensor) -> Tensor:
        """Give an image the histogram of another, half of the time."""
        seed = self.recipe.seed
        other = int(integers(seed, epoch, index, "histogram", 1, len(self.ready))[0, 0])
        wanted = self.ready[other].quantiles
        if wanted is None or uniforms(seed, epoch, index, "match", 1)[0, 0] >= 0.5:
            return image
        return torch.stack(
            [
                torch.from_numpy(np.interp(channel.numpy(), old.numpy(), new.numpy())).float()
                for channel, old, new in zip(image, own, wanted, strict=True)
            ]
        )


def _around(values: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Cut out of ``(C, *spatial)`` what places are read from; give them as places of that."""
    flat = places.view(-1, places.shape[-1])
    lows = flat.amin(dim=0).floor().long() - 1
    highs = flat.amax(dim=0).ceil().long() + 2
    for axis, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True), start=1):
        indices = mirrored_places(low, high, values.shape[axis])
        values = values.index_select(axis, indices)
    return values, places - lows


def _prepare(each: MaskedImage, spec: TileSpec, recipe: Recipe, weights: Tensor | None) -> _Ready:
    own = (each.own or statistics([each.image])) if spec.intensity == "image" else None
    places: list[Tensor] = []
    if recipe.rare:
        flat = each.mask.flatten()
        for number in torch.unique(flat).tolist():
            if number not in (0, IGNORED):
                found = (flat == number).nonzero()[:, 0]
                places.append(found[:: -(-len(found) // MOST_PLACES)].to(torch.int32))
    quantiles = None
    if recipe.match_histograms:
        values = standardize(each.image, spec, own).flatten(1).numpy()
        table = np.quantile(values, np.linspace(0, 1, QUANTILES), axis=1).T
        quantiles = torch.from_numpy(table).float()
    return _Ready(each.image, each.mask, weights, own, tuple(places), quantiles, each.spacing)


def _turned(
    recipe: Recipe,
    epoch: int,
    index: Tensor,
    image: Tensor,
    mask: Tensor,
    weights: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mirror and turn by right angles, exactly; only planes with equal sides are turned."""
    axes = mask.dim()
    drawn = uniforms(recipe.seed, epoch, index, "turns", axes + 2)[0].tolist()
    flipped: list[int] = []
    quarter = 0
    if recipe.turns:
        flipped = [axis - axes for axis in range(axes) if drawn[axis] < 0.5]
        if image.shape[-1] == image.shape[-2]:
            quarter = int(4 * drawn[axes])
    elif recipe.flip and drawn[axes + 1] < 0.5:
        flipped = [-1]

    def turn(values: Tensor) -> Tensor:
        return torch.rot90(values.flip(flipped), quarter, (-2, -1)).contiguous()

    return turn(image), turn(mask), None if weights is None else turn(weights)


def _changed_values(
    image: Tensor, spec: TileSpec, recipe: Recipe, epoch: int, index: Tensor
) -> Tensor:
    """Change light and colours, blur, change grey values, add noise, hide a square."""
    white = full_scale(spec.dtype)
    mean, std = ([value / white for value in values] for values in (spec.mean, spec.std))
    image = jitter(image[None], mean, std, recipe, epoch, index)[0]
    image = blur(image[None], recipe, epoch, index)[0]
    if recipe.grey:
        gain, shift = (recipe.grey * normals(recipe.seed, epoch, index, "grey", 2)[0]).tolist()
        image = image * (1 + gain) + shift
    if recipe.noise:
        drawn = normals(recipe.seed, epoch, index, "noise", image.numel())[0].view_as(image)
        strength = recipe.noise * float(uniforms(recipe.seed, epoch, index, "noisy", 1)[0, 0])
        image = image + strength * drawn
    return hide_square(image[None], recipe, epoch, index)[0]
