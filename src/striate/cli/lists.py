"""`striate models`, `datasets` and `describe`: what there is, and what it counts."""

import json
import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

from striate.cli.options import Input, Json, built_network, print_rich, print_table
from striate.datasets import DATASETS
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
        sets = {
            name: {
                "title": named.title,
                "image_shape": named.image_shape,
                "classes": named.classes,
                "parts": dict(named.parts),
                "source": named.source,
                "licence": named.licence,
            }
            for name, named in DATASETS.items()
        }
        print(json.dumps(sets, indent=1))
        return
    rows = [
        (
            name,
            "×".join(map(str, named.image_shape)),
            str(len(named.classes)),
            " + ".join(f"{size:,}" for size in named.parts.values()),
            named.title,
        )
        for name, named in DATASETS.items()
    ]
    print_table(("set", "images", "classes", "train + … + test", "what it is"), rows)


def describe(
    network: Annotated[str, typer.Argument(help="Name of a network, or a run folder.")],
    input_shape: Input = None,
    as_json: Json = False,
) -> None:
    """Count a network layer by layer: parameters, connections, multiply-adds, receptive fields."""
    from striate.describing import describe_table
    from striate.tracing import trace

    built, shape, name = built_network(network, input_shape)
    try:
        traced = trace(built, shape)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if as_json:
        print(json.dumps({"network": name, **traced.to_dict()}, indent=1))
    else:
        print_rich(describe_table(traced, name))
