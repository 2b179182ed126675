"""The recipe: every choice of a run as one frozen value, readable and writable as YAML."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from striate import recipe_values
from striate.errors import UsageError, did_you_mean
from striate.recipe_values import Dumper, Lengthening, read_yaml


class Recipe(BaseModel):
    """All choices of a run. Frozen; unknown names are refused with the nearest known one.

    Fields that are not given take the network's own values when training begins, and the
    run's recipe.yaml has them all.

    Example:
        >>> recipe = Recipe(network="lenet5", data="digits", epochs=5)
        >>> recipe.replace(epochs=6).epochs
        6
        >>> Recipe.from_yaml(recipe.to_yaml()) == recipe
        True
        >>> recipe.replace(epoch=6)
        Traceback (most recent call last):
        ...
        striate.errors.UsageError: a recipe has no 'epoch'; did you mean 'epochs'?
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: str = Field(description="Name of the network; `striate models` lists them.")
    data: str = Field(description="Name of the data set, or path of its folder, table or shards.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="Fixes initial weights, order and augmentation."
    )

    weights: str | None = Field(
        None,
        description="Start from these weights: a name that `striate models` lists, a file, a run "
        "folder, or NETWORK:FILE for a file that does not say its network.",
    )
    width: int | None = Field(
        None, ge=1, description="Maps of the first level of a U-Net or V-Net; the paper's if open."
    )
    depth: int | None = Field(
        None, ge=1, description="Levels below the first of a U-Net or V-Net; the paper's if open."
    )
    normalization: Literal["none", "batch", "instance", "group"] | None = Field(
        None, description="After each convolution of a padded U-Net."
    )
    epochs: int = Field(20, ge=1, description="Passes over the training set.")
    time: Annotated[float | None, BeforeValidator(recipe_values.seconds)] = Field(
        None,
        gt=0,
        description="Stop after this long, for example 90s, 10min or 1.5h, at the end of the step; "
        "start-up and validation come on top.",
    )
    lengthened: tuple[Lengthening, ...] = Field(
        (), description="Where the run was lengthened, in the order of its steps; not an option."
    )
    batch_size: int = Field(128, ge=1, description="Images in a step.")
    validation: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the training images held out for choices, where the set has no "
        "validation part; 0 chooses nothing and keeps the last weights.",
    )
    layout: Literal["auto", "folders", "table", "huggingface", "shards", "idx", "cifar", "usps"] = (
        Field("auto", description="How the data lie; auto looks, and says what it found.")
    )
    test: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the images held out for `striate evaluate`, where a set in files has "
        "no test part; 0 holds out none.",
    )
    group: str | None = Field(
        None,
        description="Images of one patient, video or plate stay in one part: a column of the "
        "table, or an expression as '(patient[0-9]+)' that is looked for in the images' names.",
    )
    fold: Annotated[str | None, BeforeValidator(recipe_values.fold)] = Field(
        None, description="As 2/5: the second of five folds of training images is for validation."
    )
    skip_bad: bool = Field(
        False, description="Leave out images that cannot be read, and name them in the run."
    )
    sampling: Literal["all", "balanced"] = Field(
        "all",
        description="What an epoch shows: all images once; or balanced: as many examples, as "
        "many of each class, images of rare classes several times.",
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many epochs without a better validation error."
    )

    loss: Literal[
        "cross-entropy",
        "map",
        "squared-error",
        "dice",
        "dice-plain",
        "cross-entropy+dice",
        "focal",
    ] = Field(
        "cross-entropy",
        description="map is LeNet-5's, with a rubbish class; squared-error is to ±1. Of masks: "
        "dice is V-Net's, with squares, dice-plain has none; focal has exponent 2.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: each class weighs as much as any other, in masks and in labels of "
        "whole images; of these with cross-entropy only.",
    )
    border_weight: float = Field(
        0.0, ge=0, description="U-Net's weight of borders between cells that touch; its own is 10."
    )
    border_sigma: float = Field(
        5.0, gt=0, description="How far from a border that weight reaches [pixels]."
    )
    rubbish: float = Field(10.0, gt=0, description="Penalty of the rubbish class of loss map.")
    auxiliary: float = Field(
        0.3, ge=0, description="Weight of each auxiliary classifier's loss, where there are any."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="For cross-entropy.")

    optimizer: Literal["sgd", "adamw", "muon"] = Field(
        "sgd",
        description="How the weights are updated; muon orthogonalises the momentum of hidden "
        "weights and leaves the others to sgd.",
    )
    learning_rate: float = Field(0.05, gt=0, description="At its highest; the schedule scales it.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of sgd and muon.")
    nesterov: bool = Field(False, description="Nesterov's form of the momentum.")
    weight_decay: float = Field(
        0.0, ge=0, description="Added to the gradient; adamw, muon: decoupled."
    )
    decay: Literal["all", "weights"] = Field(
        "all", description="What decays; weights leaves out biases and scales of normalisation."
    )
    clip: float = Field(
        0.0,
        ge=0,
        description="Longest gradient of all weights together; a longer one is shortened to it; 0 "
        "is off.",
    )
    freeze: Annotated[tuple[str, ...], BeforeValidator(recipe_values.listed)] = Field(
        (),
        description="Parts of the network that stay as they are, as conv1,bn1,layer1, or "
        "all-but-head for all but the classifier.",
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Scales the learning rate once for each stage from the classifier, which has "
        "it all, to the image.",
    )
    layer_rates: Annotated[dict[str, float], BeforeValidator(recipe_values.factors)] = Field(
        {}, description="Factors of the learning rate of parts by name, as layer4:0.1,fc:1."
    )
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="Images computed at once, if fewer than in a step: the same gradient in less "
        "memory. Batch normalisation then sees these alone.",
    )
    precision: Literal["float32", "bf16", "auto"] = Field(
        "float32",
        description="What maps are computed in; weights and loss stay float32. auto: bf16 "
        "on a GPU that has it, and on a processor where a short measurement shows that it pays.",
    )
    compile: Literal["off", "auto", "on"] = Field(
        "off",
        description="torch.compile; auto: memory format and compilation as a short measurement "
        "shows that they pay within the run.",
    )
    schedule: Literal["constant", "step", "cosine", "one-cycle", "plateau"] = Field(
        "one-cycle", description="Course of the learning rate over the run."
    )
    warmup: float = Field(0.0, ge=0, description="Epochs of linear rise before the schedule.")
    milestones: Annotated[dict[int, float], BeforeValidator(recipe_values.milestones)] = Field(
        {}, description="For step: from which epoch on which share of the rate, as 2:0.4,5:0.2."
    )
    plateau_epochs: int = Field(5, ge=1, description="For plateau: epochs without improvement.")
    plateau_factor: float = Field(0.1, gt=0, lt=1, description="For plateau: what then scales it.")
    ema: float = Field(
        0.0, ge=0, lt=1, description="Decay a step of the moving average of weights; 0 is off."
    )

    image_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Side to which images are resized, then surrounded by background up to the "
        "network's input; if larger than that, it is their shorter side, and the network reads "
        "a window. By default their own, if that fits.",
    )
    input_range: Annotated[tuple[float, float] | None, BeforeValidator(recipe_values.pair)] = Field(
        None,
        description="What black and white become, as -0.1,1.175; by default each channel is "
        "standardised by the training set.",
    )
    channels_last: bool = Field(True, description="Memory format of the maps.")
    tile: Annotated[tuple[int, ...] | None, BeforeValidator(recipe_values.listed)] = Field(
        None,
        description="With masks: what the network is shown of an image at once in training, as "
        "252,252 or 32,64,64 [pixels].",
    )
    intensity: Literal["set", "image", "ct"] | None = Field(
        None,
        description="With masks: standardised by the training set; by each image's own mean and "
        "deviation; or ct, cut to 0.5 to 99.5 % of the values inside the masks, then by these. By "
        "default ct for CT, image for MRI and other volumes, set for the rest.",
    )
    rare: float = Field(
        0.0,
        ge=0,
        le=1,
        description="With masks: share of the tiles that sit on a pixel of a class drawn evenly, "
        "the first left out.",
    )
    crop: Literal["center", "random", "area"] = Field(
        "center",
        description="Window of the network's input taken from a larger training image: its "
        "middle, a random place, or GoogLeNet's 8 to 100 % of the area at aspect 3/4 to 4/3.",
    )
    side_range: Annotated[tuple[int, int] | None, BeforeValidator(recipe_values.pair)] = Field(
        None,
        description="For crop random: the shorter side is resized at random between these two "
        "before the window is taken, as 256,512 [pixels]; by default image_size, which is "
        "their middle if it is not given.",
    )
    protocol: recipe_values.Views = Field(
        "single",
        description="Views of an image whose answers are averaged at test time; turns, by right "
        "angles and mirrored, is for masks.",
    )
    scales: Annotated[tuple[int, ...], BeforeValidator(recipe_values.listed)] = Field(
        (),
        description="For protocols multi-scale and 150-crop: shorter sides, as 224,256,288 "
        "[pixels]; by default VGG's rule, from image_size or side_range.",
    )
    view_average: Literal["probabilities", "scores"] = Field(
        "probabilities",
        description="What is averaged over dense and multi-scale views: probabilities as VGG "
        "does, scores as ResNet does. Over windows it is always probabilities.",
    )

    flip: bool = Field(False, description="Mirror images left to right at random, half of them.")
    alternate: bool = Field(False, description="Of flip: drawn once, then each epoch in turn.")
    crop_padding: int = Field(
        0,
        ge=0,
        description="Random shift by whole pixels: pad each side by this, then crop at random.",
    )
    pca_color: float = Field(
        0.0, ge=0, description="Deviation of AlexNet's shift along the principal colours."
    )
    shift: float = Field(0.0, ge=0, description="Random shift, up to this [pixels of the input].")
    rotation: float = Field(0.0, ge=0, le=180, description="Random rotation, up to this [degrees].")
    scale: float = Field(0.0, ge=0, lt=1, description="Random scale, up to this share.")
    squeeze: float = Field(
        0.0, ge=0, lt=1, description="One axis compressed, the other stretched, up to this share."
    )
    shear: float = Field(0.0, ge=0, description="Random horizontal shear, up to this slope.")
    elastic: float = Field(
        0.0, ge=0, description="Deviation of elastic deformation [pixels of the input]."
    )
    elastic_points: int = Field(
        5, ge=2, description="Points a side at which that deformation is drawn."
    )
    turns: bool = Field(False, description="Turn by right angles and mirror at random.")
    brightness: float = Field(
        0.0, ge=0, le=1, description="Values times a factor, up to this above and below 1."
    )
    contrast: float = Field(
        0.0, ge=0, le=1, description="Distance from the image's mean grey times a factor, likewise."
    )
    saturation: float = Field(
        0.0, ge=0, le=1, description="Distance of colours from grey times a factor, likewise."
    )
    hue: float = Field(
        0.0, ge=0, le=0.5, description="Colours turned about the grey axis, up to this [turns]."
    )
    blur: float = Field(
        0.0, ge=0, le=64, description="Gaussian blur, its deviation up to this [pixels]."
    )
    grey: float = Field(
        0.0,
        ge=0,
        description="Random brightness and contrast, with this deviation [deviations of the "
        "values], nothing cut.",
    )
    noise: float = Field(
        0.0, ge=0, description="Random noise on every value, up to this deviation [as grey]."
    )
    cutout: int = Field(0, ge=0, description="Side of a square that is hidden at random [pixels].")
    mixup: float = Field(
        0.0,
        ge=0,
        description="Blend with another image, its label too, by a share from Beta of this; 0.2 is "
        "usual.",
    )
    cutmix: float = Field(
        0.0,
        ge=0,
        description="A box of another image, its label too, by a share from Beta of this; 1 is "
        "usual. Beside mixup half the images have one, half the other.",
    )
    match_histograms: bool = Field(
        False, description="Give an image the histogram of another one at random, half of them."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.input_range is not None and self.input_range[0] >= self.input_range[1]:
            raise ValueError("input_range needs its first number below its second")
        if any(scale < 1 for scale in self.scales):
            raise ValueError("scales need numbers above 0")
        if self.side_range is not None:
            if self.crop != "random" and "crop" in self.model_fields_set:
                raise ValueError("side_range works with crop random only; give --crop random too")
            if not 1 <= self.side_range[0] <= self.side_range[1]:
                raise ValueError(
                    "side_range needs its first number above 0 and not above its second"
                )
        if self.label_smoothing and self.loss != "cross-entropy":
            of_labels = self.loss in ("map", "squared-error")  # with masks it has no effect at all
            raise ValueError(
                f"label_smoothing works with loss cross-entropy only, and the loss is {self.loss}; "
                f"leave it out{', or give --loss cross-entropy' if of_labels else ''}"
            )
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError(
                "nesterov needs optimizer sgd with a momentum above 0; muon is Nesterov's as it is"
            )
        if any(factor <= 0 for factor in self.layer_rates.values()):
            raise ValueError("layer_rates need factors above 0; to keep a part, give --freeze")
        if self.milestones and self.schedule != "step":
            raise ValueError("milestones work with schedule step only")
        if self.schedule == "step" and not self.milestones:
            raise ValueError("schedule step needs milestones, for example 2:0.4,5:0.2")
        return self

    def __init__(self, **values: Any) -> None:
        self.check_names(values)
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            if first["type"] == "missing":
                raise UsageError(f"a recipe needs {name!r}") from None
            reason = recipe_values.needed(first["type"], first.get("ctx", {}), first["msg"])
            option = f"--{str(first['loc'][0]).replace('_', '-')}" if name else ""
            came = first["input"] if first["input"] != "" else "empty"
            given = f"{option} is {came}; needed is " if name else "recipe: "
            raise UsageError(f"{given}{reason}") from None

    def replace(self, **changes: Any) -> "Recipe":
        """Make the recipe that differs from this one in the named fields.

        Raises:
            UsageError: A name is not a field, or a value does not fit.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return Recipe(**{**given, **changes})

    @classmethod
    def check_names(cls, names: Iterable[str]) -> None:
        """Refuse a name that no field has.

        Raises:
            UsageError: There is one; the nearest field is named.
        """
        for name in names:
            if name not in cls.model_fields:
                known = did_you_mean(name, cls.model_fields)
                raise UsageError(f"a recipe has no {name!r}; {known}")

    def to_yaml(self) -> str:
        """Write the fields that were given; a run's recipe has every field."""
        fields = self.model_dump(mode="json", exclude_unset=True)
        return yaml.dump(fields, Dumper=Dumper, sort_keys=False, allow_unicode=True)

    @staticmethod
    def from_yaml(text: str) -> "Recipe":
        """Read what ``to_yaml`` wrote, or a file with some of the fields.

        Raises:
            UsageError: Not YAML, not a mapping, or not a recipe's names and values.
        """
        return Recipe(**read_yaml(text))
