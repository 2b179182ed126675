"""Which fields of a recipe say how images in files are found and parted."""

from collections.abc import Collection

from striate.datasets import is_path
from striate.datasets.layouts import FILES
from striate.errors import UsageError
from striate.recipes import Recipe

# Fields without effect on sets that are read into memory, which have parts of their own.
OF_FILES = ("layout", "test", "group", "fold")


def check_data_fields(
    recipe: Recipe, given: Collection[str], *, is_files: bool, parts: Collection[str] = ()
) -> None:
    """Refuse what would have no effect on how the images are found and parted.

    Args:
        recipe: Whole.
        given: Names of the fields that the user chose.
        is_files: The images lie in files: ``datasets.list_images`` gave a listing.
        parts: That the listing has.

    Raises:
        UsageError: Some of the fields have no effect.

    Example:
        >>> recipe = Recipe(network="lenet5", data="digits", fold="1/5")
        >>> check_data_fields(recipe, {"fold"}, is_files=False)
        Traceback (most recent call last):
        striate.errors.UsageError: --fold has no effect: digits has parts of its own; leave it out
    """
    chosen = {name for name in given if getattr(recipe, name) != Recipe.model_fields[name].default}
    if not is_files:
        if recipe.layout in FILES and is_path(recipe.data):
            chosen.discard("layout")  # its files were looked at
        idle = [name for name in OF_FILES if name in chosen]
        _refuse(idle, f"{recipe.data} has parts of its own")
        return
    _refuse({"test"} & chosen & {*parts}, "the set has a test part")
    _refuse({"validation"} & chosen & {*parts}, "the set has a validation part")
    if recipe.fold is not None:
        _refuse({"validation"} & chosen, "--fold says what the validation part is")


def _refuse(idle: Collection[str], why: str) -> None:
    if idle:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
        verb, them = ("has", "it") if len(idle) == 1 else ("have", "them")
        raise UsageError(f"{options} {verb} no effect: {why}; leave {them} out")
