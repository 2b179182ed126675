"""`striate models`, `datasets` and `describe`: what there is, and what it counts."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from striate.cli.networks import Input, NetworkArgument, typed_network
from striate.cli.options import Json, print_rich, print_table
from striate.datasets import DATASETS, MASK_SETS, NamedMaskSet, NamedSet
from striate.errors import UsageError
from striate.models import NETWORKS, RECIPES, networks_by_paper
from striate.published_weights import PUBLISHED


def models(as_json: Json = False) -> None:
    """List the networks, the shipped recipes and the published weights."""
    if as_json:
        networks = {
            name: {
                "paper": network.paper,
                "title": network.title,
                "input_shape": network.input_shape,
                "num_classes": network.num_classes,
                "recipe": network.recipe,
            }
            for name, network in NETWORKS.items()
        }
        weights = {name: asdict(entry) for name, entry in PUBLISHED.items()}
        listed = {"networks": networks, "recipes": sorted(RECIPES), "weights": weights}
        print(json.dumps(listed, indent=1))
        return
    rows: list[tuple[str, str, str]] = []
    for paper, names in networks_by_paper().items():
        rows.append((paper, "", ""))
        for name in names:
            network = NETWORKS[name]
            rows.append((f"  {name}", "×".join(map(str, network.input_shape)), network.title))
    print_table(("network", "input", "what it is"), rows)
    others = ", ".join(sorted(RECIPES.keys() - {network.recipe for network in NETWORKS.values()}))
    print("\nrecipes (--recipe NAME): each network's own, by its name, and")
    print(
        textwrap.fill(others, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    )
    print()
    files = [(name, entry.file) for name, entry in PUBLISHED.items()]
    print_table(("weights (--weights NAME)", "torchvision's file"), files)


def datasets(as_json: Json = False) -> None:
    """List the data sets that have a name."""
    if as_json:
        print(json.dumps({**_sets("classification"), **_sets("segmentation")}, indent=1))
        return
    rows: list[tuple[str, ...]] = []
    for heading, sets in (("a label each", DATASETS), ("a mask each", MASK_SETS)):
        rows.append((heading, "", "", "", ""))
        rows += [
            (
                f"  {name}",
                _size(named.image_shape),
                str(len(named.classes)),
                " + ".join(f"{size:,}" for size in named.parts.values()),
                named.title,
            )
            for name, named in sets.items()
        ]
    print_table(("set", "images", "classes", "train + … + test", "what it is"), rows)


def _sets(task: str) -> dict[str, Any]:
    """Give the sets for one kind of networks, as JSON has them."""
    sets: Mapping[str, NamedSet | NamedMaskSet] = (
        DATASETS if task == "classification" else MASK_SETS
    )
    keys = ("title", "image_shape", "classes", "modalities", "parts", "source", "licence")
    return {
        name: {"task": task, **{key: getattr(named, key) for key in keys if hasattr(named, key)}}
        for name, named in sets.items()
    }


def _size(shape: Sequence[int | None]) -> str:
    """Write a size, with a letter where it differs from image to image."""
    names = "CDHW" if len(shape) == 4 else "CHW"
    return "×".join(str(size or name) for size, name in zip(shape, names, strict=True))


def describe(
    network: NetworkArgument,
    input_shape: Input = None,
    as_json: Json = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", metavar="", help="Print a Markdown table of every layer.")
    ] = False,
    unfolded: Annotated[
        bool, typer.Option("--all", metavar="", help="Show every block, those alike too.")
    ] = False,
    sizes: Annotated[
        int | None,
        typer.Option("--sizes", min=1, metavar="MOST", help="Try all input sides up to MOST."),
    ] = None,
) -> None:
    """Count a network layer by layer: parameters, connections, multiply-adds, receptive fields."""
    from striate.describing import Description, to_markdown
    from striate.tracing.sizes import legal_sizes

    if as_json and as_markdown:
        raise UsageError("--json and --markdown are two answers; ask for one")
    typed = typed_network(network, input_shape)
    trace = typed.trace()
    legal = legal_sizes(typed.network, typed.input_shape, most=sizes) if sizes else None
    if as_json:
        told = {} if legal is None else {"input_sizes": legal.to_dict()}
        print(json.dumps({"network": typed.name, **trace.to_dict(), **told}, indent=1))
    elif as_markdown:
        print(to_markdown(trace, sizes=legal))
    else:
        print_rich(Description(trace, typed.name, not unfolded, legal))
