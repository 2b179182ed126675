"""`striate data check`: what is broken, odd, twice there or leaking in a set of images."""

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli.options import DataDir, Json, print_table
from striate.errors import DataError, UsageError
from striate.lettering import legal, shorten

if TYPE_CHECKING:
    from striate.data_check.report import Report
    from striate.display import Progress

MOST_LINES = 5  # shown of a finding on the terminal
MOST_CLASSES = 20
LONGEST = 220  # of what is said of an image [characters]

data = typer.Typer(help="Look at sets of images.", no_args_is_help=True)


@data.callback()
def _only_group() -> None:
    """Look at sets of images before anything is trained on them."""


@data.command()
def check(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A set's name, or a path.")],
    layout: Annotated[
        str, typer.Option("--layout", metavar="NAME", help="How the images lie; auto looks.")
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write a page with thumbnails here."),
    ] = None,
    max_pixels: Annotated[
        int,
        typer.Option("--max-pixels", min=1, metavar="N", help="Larger images are not decoded."),
    ] = 200_000_000,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="NAME",
            help="Tell of groups in two parts: a column of the table, or an expression with "
            "brackets as for striate train.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, metavar="N", help="Processes that decode."),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> int:
    """Look at every image of DATA: broken, odd, twice there, leaking from part to part.

    Exit code 3 where something must be looked at before training, 0 elsewhere.
    """
    from striate.display import choose_display
    from striate.files import write_file
    from striate.worker_processes import processors

    if out is not None and not out.parent.is_dir():
        raise DataError(f"{out.parent} is no folder; make it, or name another place with --out")
    processes = processors() if workers is None else workers
    display = choose_display()
    with display.reading() as told:
        report, opened = _checked(data, layout, group, max_pixels, processes, data_dir, told)
    if out is not None:
        from striate.data_check.page import check_page

        write_file(out, check_page(report, opened))
        display.note(f"wrote {out}")
    if as_json:
        print(json.dumps(report.to_dict(), indent=1))
    else:
        _print_report(report)
    return DataError.exit_code if report.must_be_looked_at else 0


def _checked(
    data: str,
    layout: str,
    group: str | None,
    max_pixels: int,
    workers: int,
    data_dir: Path | None,
    told: "Progress | None",
) -> tuple["Report", Any]:
    from striate import datasets
    from striate.data_check import check, check_in_memory
    from striate.data_check.page import SIDE
    from striate.datasets.mask_layouts import holds_masks
    from striate.datasets.splits import grouped
    from striate.images import DecodedImage, read_image

    has_masks = Path(data).is_dir() and layout == "auto" and holds_masks(Path(data))
    if data in datasets.MASK_SETS or has_masks:
        raise UsageError(
            f"{data} has a mask for each image, which this check does not know; striate train "
            "reads and checks all images and masks before it begins"
        )
    listing = datasets.list_images(data, layout=layout)
    if listing is not None:
        listing = grouped(listing, group)

        def from_file(index: int) -> DecodedImage:
            place = listing.places[index]
            return read_image(
                Path(place.name), content=place.read(), max_pixels=max_pixels, at_least=(SIDE, SIDE)
            )

        return check(listing, max_pixels=max_pixels, workers=workers, told=told), from_file
    if group is not None:
        raise UsageError(f"--group has no effect: images of {data} have no names; leave it out")
    image_set = datasets.load(data, data_dir=data_dir)
    report, pixels = check_in_memory(image_set, told)

    def from_memory(index: int) -> DecodedImage:
        return DecodedImage(pixels[report.names[index]], image_set.value_range[1], ())

    return report, from_memory


def _print_report(report: "Report") -> None:
    print(f"{report.name}: {len(report.names):,} images in {len(report.classes):,} classes")
    print(f"{report.layout}, looked at in {report.seconds:.1f} s")
    for note in report.notes:
        print(note)
    print()
    for finding in report.findings:
        mark = "must be looked at" if finding.is_serious else "for you to know"
        print(f"{finding.kind}: {len(finding.details):,} ({mark})")
        print(f"  {finding.text}")
        for detail in finding.details[:MOST_LINES]:
            text = shorten(" ".join(legal(detail).split()), LONGEST)
            print(textwrap.fill(text, 80, initial_indent="    ", subsequent_indent="      "))
        if len(finding.details) > MOST_LINES:
            print(f"    and {len(finding.details) - MOST_LINES:,} more: --out FILE or --json")
    if not report.findings:
        print("nothing found that must be looked at")
    print()
    _print_figures(report)


def _print_figures(report: "Report") -> None:
    figures = report.statistics()
    rows = [
        (
            f"{kind['channels']} × {kind['dtype']}, white {kind['full_scale']:g}",
            f"{kind['low']:g} to {kind['high']:g}",
            f"{kind['images']:,}",
        )
        for kind in figures["kinds"]
    ]
    print_table(("channels × kind", "values", "examples"), rows)
    for side in ("height", "width"):
        if figures[side]:
            low, median, high = figures[side]
            print(f"{side} {low} to {high}, median {median} pixels")
    for note, count in list(figures["notes"].items())[:10]:
        print(f"{count:,} × {shorten(note, 70)}")
    print()
    balance = sorted(report.balance().items(), key=lambda item: -sum(item[1].values()))
    shown = balance if len(balance) <= MOST_CLASSES else balance[:10] + balance[-10:]
    parts = tuple(report.parts)
    print_table(
        ("class", *parts),
        [(name, *(f"{counts[part]:,}" for part in parts)) for name, counts in shown],
    )
    if len(shown) < len(balance):
        print(f"the 10 largest and the 10 smallest of {len(balance):,} classes")
