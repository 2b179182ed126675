"""The task of labelling every pixel: tiles to learn from, whole images to be measured on."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from striate.batches import Batch, own_rows
from striate.datasets.masks import IGNORED
from striate.dense_form import dense
from striate.distributed import add_up, joined, own_slice, total
from striate.mask_data import MaskData, as_shown, class_weights, tiles_per_epoch, with_weights
from striate.models import find_network
from striate.modes import evaluating
from striate.patches import Tiles
from striate.recipes import Recipe
from striate.segmentation_losses import pixel_loss
from striate.segmentation_metrics import count_pixels, mean_dice
from striate.tasks import Measures
from striate.tile_input import TileSpec
from striate.tiled_prediction import whole


def pixel_form(network: nn.Module, name: str) -> nn.Module:
    """Give the form of a network that answers for every pixel it has full surroundings of.

    A classifier of windows becomes its dense form, which shares its weights; other networks are
    that form themselves.
    """
    known = find_network(name)
    if known.task == "window":
        return dense(network, window=known.input_shape[-1])
    return network


class Segmentation:
    """A class for each pixel.

    Args:
        recipe: Complete.
        spec: The network's input.
        data: The images with their masks.
        output: What the network answers of a tile, a number for each spatial axis [pixels].
    """

    def __init__(
        self, recipe: Recipe, spec: TileSpec, data: MaskData, output: tuple[int, ...]
    ) -> None:
        self.recipe, self.spec, self.validation = recipe, spec, data.validation
        self.classes = data.classes
        self.source, self.fingerprint = data.source, data.fingerprint
        self.num_training, self.num_validation = len(data.training), len(data.validation)
        self.num_examples = tiles_per_epoch(data.training, output, recipe.batch_size)
        self.steps_per_epoch = self.num_examples // recipe.batch_size
        weights = with_weights(data, recipe)
        self.tiles = Tiles(data.training, spec, output, recipe, weights)
        self._loss = pixel_loss(
            recipe.loss, class_weights(data, recipe) if weights is None else None
        )
        self.device = torch.device("cpu")

    def to(self, device: torch.device) -> None:
        """Say where batches are wanted; tiles are cut on the processor."""
        self.device = device

    def form(self, network: nn.Module) -> nn.Module:
        """Give what is shown tiles: a network of windows in its dense form."""
        return pixel_form(network, self.recipe.network)

    def batches(
        self, epoch: int, first_step: int, share: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        """Cut an epoch's tiles, as many of each image."""
        places = torch.arange(self.num_examples)
        for every in torch.split(places, self.recipe.batch_size)[first_step:]:
            made, count = own_rows(every, share)
            batch = self.tiles.batch(epoch, made)
            weights = batch.weights
            yield Batch(
                batch.indices[:count],
                batch.images[:count].to(self.device),
                batch.targets[:count].to(self.device),
                None if weights is None else weights[:count].to(self.device),
                whole=len(every),
            )

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Average over the pixels that count."""
        return self._loss(logits, batch.targets, batch.weights, total)

    def mistakes(self, logits: Tensor, batch: Batch) -> tuple[int, int]:
        """Count the pixels that are wrong, and those that count."""
        counted = batch.targets != IGNORED
        wrong = (logits.argmax(dim=1) != batch.targets) & counted
        return int(wrong.sum()), int(counted.sum())

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> Measures:
        """Show the network every validation image whole; losses are averaged over them."""
        form = self.form(network)
        losses, confusion = [], torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64)
        with evaluating(form):
            for each in self.validation[own_slice(len(self.validation))]:
                image = as_shown(each, self.spec).to(self.device)
                logits, targets = whole(form, image)[None], each.mask[None]
                losses.append(self._loss(logits, targets).item())
                confusion += count_pixels(logits.argmax(dim=1), targets, len(self.classes))
        losses = joined(losses)
        confusion = add_up(confusion)
        error = 1 - int(confusion.diagonal().sum()) / max(int(confusion.sum()), 1)
        return Measures(sum(losses) / len(losses), error, mean_dice(confusion))
