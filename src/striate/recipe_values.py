"""Text to the values of a recipe: times, pairs and lists as people type them, and YAML 1.2."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from striate.errors import UsageError

# Names of what an image is shown by at test time; ``protocols`` and ``mask_scoring`` say what.
Views = Literal[
    "single",
    "ten-crop",
    "dense",
    "multi-scale",
    "fifty-crop",
    "150-crop",
    "144-crop",
    "shifts",
    "turns",
]

_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


class Lengthening(BaseModel):
    """Where a run was made longer than was planned, and what had been planned.

    Attributes:
        epochs: Planned until then.
        time: Time budget until then [seconds].
        steps: Done by then.
        seconds: Trained by then.
        share: Of the learning rate, at which the schedule stood, warm-up left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(ge=1)
    time: float | None = None
    steps: int = Field(ge=0)
    seconds: float = Field(ge=0)
    share: float = Field(ge=0, le=1)


# What a value has to be, by pydantic's names of what is wrong with it.
_NEEDED = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "finite_number": "a finite number",
    "string_type": "text",
    "too_short": "{min_length} of them or more",
    "too_long": "{max_length} of them or fewer",
    **dict.fromkeys(
        ("int_parsing", "int_type", "int_from_float", "int_parsing_size"), "a whole number"
    ),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    **dict.fromkeys(("tuple_type", "dict_type", "missing"), "several values"),
}


def needed(kind: str, limits: Mapping[str, Any], message: str) -> str:
    """Say in words what a value of a recipe has to be.

    Args:
        kind: Pydantic's name of what is wrong.
        limits: What it says of the limits.
        message: In its own words, for what has none here.

    Example:
        >>> needed("greater_than_equal", {"ge": 1}, "Input should be greater than ...")
        '1 or more'
    """
    if kind in _NEEDED:
        said = {name: f"{v:g}" if isinstance(v, float) else v for name, v in limits.items()}
        return _NEEDED[kind].format(**said)
    return message.removeprefix("Value error, ").removeprefix("Input should be ")


def seconds(value: object) -> object:
    """Read "90", "90s", "10min" and "1.5h" as seconds."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", value)
    if match is None:
        raise ValueError("a time as 90s, 10min or 1.5h")
    number, unit = match[1], match[2] or "s"
    if unit not in _UNITS:
        raise ValueError("a time in s, min or h, as 90s")
    return float(number) * _UNITS[unit]


def milestones(value: object) -> object:
    """Read "2:0.4,5:0.2" as {2: 0.4, 5: 0.2}."""
    return _pairs(value, "EPOCH:SHARE,EPOCH:SHARE, for example 2:0.4,5:0.2")


def fold(value: object) -> object:
    """Check "2/5", the second of five."""
    match = re.fullmatch(r"\s*([0-9]{1,6})\s*/\s*([0-9]{1,6})\s*", str(value))
    if value is None:
        return None
    if match is None or not 1 <= int(match[1]) <= int(match[2]) or int(match[2]) < 2:
        raise ValueError("FOLD/FOLDS, two folds or more, counted from 1, for example 2/5")
    return f"{int(match[1])}/{int(match[2])}"


def pair(value: object) -> object:
    """Read "-0.1,1.175" as two numbers."""
    if not isinstance(value, str):
        return value
    numbers = value.replace(" ", "").split(",")
    if len(numbers) != 2:
        raise ValueError("two numbers with a comma between, for example -0.1,1.175")
    return numbers


def listed(value: object) -> object:
    """Read "224,256" or "conv1,layer1" as what it lists."""
    return _listed(value) if isinstance(value, str) else value


def factors(value: object) -> object:
    """Read "layer4:0.1,fc:1" as {"layer4": 0.1, "fc": 1}."""
    return _pairs(value, "NAME:FACTOR,NAME:FACTOR, for example layer4:0.1,fc:1")


def _pairs(value: object, form: str) -> object:
    if not isinstance(value, str):
        return value
    pairs = [pair.split(":") for pair in _listed(value)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(form)
    return dict(pairs)


def _listed(value: str) -> list[str]:
    return [part for part in value.replace(" ", "").split(",") if part]


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: 1e-4 is a number; no, on and 12:30 are text; 010 is ten."""


class Dumper(yaml.SafeDumper):
    """Quotes the text that a reader of YAML 1.1 or of 1.2 would take for something else."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
}.items():
    for _class in (_Loader, Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), None
        )
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))


def read_yaml(text: str) -> dict[str, Any]:
    """Read a YAML mapping by the rules of YAML 1.2.

    Raises:
        UsageError: Not YAML, or not a mapping.

    Example:
        >>> read_yaml("learning_rate: 1e-4\\nnetwork: no\\nseed: 010")
        {'learning_rate': 0.0001, 'network': 'no', 'seed': 10}
    """
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark, problem = (getattr(error, name, None) for name in ("problem_mark", "problem"))
        where = f" in line {mark.line + 1}" if mark else ""
        raise UsageError(f"not YAML{where}: {problem or ' '.join(str(error).split())}") from error
    if values is None:
        raise UsageError("there are no 'name: value' lines in it")
    if not isinstance(values, dict):
        raise UsageError(f"a recipe is 'name: value' lines, not {type(values).__name__}")
    return values


def recipe_fields(path: Path) -> dict[str, Any]:
    """Read the fields that a recipe file names.

    Raises:
        UsageError: The file is missing or is not a YAML mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe file {path} cannot be read: {error}") from error
    try:
        return read_yaml(text)
    except UsageError as error:
        raise UsageError(f"recipe file {path}: {error}") from error
