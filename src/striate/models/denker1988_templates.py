"""The templates of Denker's recogniser, drawn as they look: ours, the paper prints only a few.

``#`` wants ink (+1), ``-`` forbids it (-5), ``.`` does not care (0). A template fires at the
pixel under its centre if the sum over the ink exceeds its threshold; one forbidden pixel is
enough to keep it quiet.

Source: J. S. Denker et al., "Neural network recognizer for hand-written zip code digits",
1989: the convention, the sizes and the ORs and ANDs. Which templates, which thresholds and
which combinations the paper does not print.
"""

from typing import NamedTuple

import torch
from torch import Tensor

WEIGHTS = {"#": 1.0, "-": -5.0, ".": 0.0}


class Templates(NamedTuple):
    """Templates of one size.

    Attributes:
        kernels: ``(T, 1, side, side)``, float32, values +1, 0 and -5.
        thresholds: ``(T,)``, what the sum over the ink must exceed.
    """

    kernels: Tensor
    thresholds: Tensor


# Skeleton, in a frame of 5x5. They take a pixel off the top, the left, the upper left corner;
# the bottom, the right; and the upper right, lower left and lower right corner of a stroke.
# They are not symmetric: 3x3 takes off the top and the left, 3x4 and 4x3 the bottom, the
# right and the lower corners, which also want a third pixel of ink behind the first two, so
# that a stroke two pixels wide loses one side only.
DELETIONS = """
..... ..... ..... ..#.. ..... ..... ..#.. ..#..
.---. .-.#. .--.. .###. .#.-. ..--. ..##. .##..
..#.. .-##. .-##. ..#.. ###-. .##-. .-##. .##-.
.###. .-.#. ..#.. .---. .#.-. ..#.. .--.. ..--.
..... ..... ..... ..... ..... ..... ..... .....
"""

# Features, 7x7: strokes through the middle, every 11.25 degrees from the horizontal.
STROKES = """
....... ....... ....... ....... .....## .....#. ....##. ...##..
....... ....... ......# .....## ....### ....##. ...##.. ...##..
....... ....### ....### ....##. ...###. ...##.. ...##.. ...##..
####### ####### .#####. ..###.. ..###.. ...#... ...#... ...#...
....... ###.... ###.... .##.... .###... ..##... ..##... ..##...
....... ....... #...... ##..... ###.... .##.... ..##... ..##...
....... ....... ....... ....... ##..... .#..... .##.... ..##...

...#... ..##... .##.... .#..... ##..... ....... ....... .......
...#... ..##... ..##... .##.... ###.... ##..... #...... .......
...#... ..##... ..##... ..##... .###... .##.... ###.... ###....
...#... ...#... ...#... ...#... ..###.. ..###.. .#####. #######
...#... ...##.. ...##.. ...##.. ...###. ....##. ....### ....###
...#... ...##.. ...##.. ....##. ....### .....## ......# .......
...#... ...##.. ....##. .....#. .....## ....... ....... .......
"""
# Half strokes from the middle outwards, every 22.5 degrees from the right, anticlockwise; the
# slanting ones are drawn so that no horizontal or vertical stroke makes them fire.
RAYS = """
....... ....... .....## ....##. ...#... .##.... ##..... .......
....... ......# ....### ....#.. ...#... ..#.... ###.... #......
....... ....### ...###. ...##.. ...#... ..##... .###... ###....
...#### ...##.. ...##.. ...#... ...#... ...#... ..##... ..##...
....... ....... ....... ....... ....... ....... ....... .......
....... ....... ....... ....... ....... ....... ....... .......
....... ....... ....... ....... ....... ....... ....... .......

....... ....... ....... ....... ....... ....... ....... .......
....... ....... ....... ....... ....... ....... ....... .......
....... ....... ....... ....... ....... ....... ....... .......
####... ..##... ..##... ...#... ...#... ...#... ...##.. ...##..
....... ###.... .###... ..##... ...#... ...##.. ...###. ....###
....... #...... ###.... ..#.... ...#... ....#.. ....### ......#
....... ....... ##..... .##.... ...#... ....##. .....## .......
"""
# Ends of strokes: half strokes as before, with no ink on the other sides of the middle.
ENDS = """
....... ....... .....## ....##. ...#... .##.... ##..... .......
..--... ..--..# ..-.### ...##.. ...#... ..##... ###.-.. #..--..
.---... .---### .--###. .--##.. ...#... ..##--. .###--. ###---.
.--#### .--###. .--##.. .--#--. .--#--. .--#--. ..##--. .###--.
.---... .----.. .-----. .-----. .-----. .-----. .-----. ..----.
..--... ..---.. ..---.. ..---.. ..---.. ..---.. ..---.. ..---..
....... ....... ....... ....... ....... ....... ....... .......

....... ....... ....... ....... ....... ....... ....... .......
...--.. ..---.. ..---.. ..---.. ..---.. ..---.. ..---.. ..---..
...---. ..----. .-----. .-----. .-----. .-----. .-----. .----..
####--. .###--. ..##--. .--#--. .--#--. .--#--. .--##.. .--###.
...---. ###---. .###--. ..##--. ...#... .--##.. .--###. .---###
...--.. #..--.. ###.-.. ..##... ...#... ...##.. ..-.### ..--..#
....... ....... ##..... .##.... ...#... ....##. .....## .......
"""
# Ink crowded around the middle, where lines of a skeleton meet.
CROWD = """
.......
.......
..###..
..###..
..###..
.......
.......
"""

# Pixels that must be there: of the seven along a stroke, the four along a half stroke, the
# four along an end, the nine of a crowd.
LEAST_INK = {"strokes": 5, "rays": 3, "ends": 4, "crowd": 5}

# The places of the 49 templates, in the order in which they are applied.
FIRST_STROKE, FIRST_RAY, FIRST_END, THE_CROWD = 0, 16, 32, 48

MAP_NAMES = (
    *("stroke horizontal", "stroke rising", "stroke vertical", "stroke falling"),
    *("arc open right", "arc open upper right", "arc open up", "arc open upper left"),
    *("arc open left", "arc open lower left", "arc open down", "arc open lower right"),
    *("end of a stroke to the right", "end of a stroke upwards"),
    *("end of a stroke to the left", "end of a stroke downwards"),
    *("crowd", "fork"),
)

# An OR of ANDs: for each map, groups of templates; a group fires where all in it fire.
Rule = tuple[tuple[int, ...], ...]


def parse_templates(drawing: str) -> Tensor:
    """Read square templates side by side, rows of them apart by empty lines.

    Returns:
        ``(T, 1, side, side)``, float32.

    Example:
        >>> parse_templates("#- .-\\n.# ##")[:, 0].tolist()
        [[[1.0, -5.0], [0.0, 1.0]], [[0.0, -5.0], [1.0, 1.0]]]
    """
    found = []
    for band in drawing.strip().split("\n\n"):
        rows = [line.split() for line in band.splitlines()]
        found += [[[WEIGHTS[c] for c in text] for text in one] for one in zip(*rows, strict=True)]
    return torch.tensor(found).unsqueeze(1)


def deletion_templates() -> Templates:
    """Give the templates of skeletonisation: 8 of 5x5, each firing where all it wants is there."""
    kernels = parse_templates(DELETIONS)
    return Templates(kernels, (kernels > 0).sum(dim=(1, 2, 3)) - 0.5)


def feature_templates() -> Templates:
    """Give the 49 templates of 7x7, each with a threshold half a pixel below ``LEAST_INK``."""
    drawings = {"strokes": STROKES, "rays": RAYS, "ends": ENDS, "crowd": CROWD}
    kernels = {kind: parse_templates(drawing) for kind, drawing in drawings.items()}
    thresholds = [torch.full((len(kernels[kind]),), LEAST_INK[kind] - 0.5) for kind in kernels]
    return Templates(torch.cat(list(kernels.values())), torch.cat(thresholds))


def _ray(direction: int) -> int:
    return FIRST_RAY + direction % 16


def map_rules() -> tuple[Rule, ...]:
    """Give the rules of the 18 maps, in the order of ``MAP_NAMES``.

    Strokes and ends are ORs over five neighbouring directions. An arc is the AND of two half
    strokes, 45 or 67.5 degrees to both sides of where it is open; a fork is the AND of a half
    stroke and two others, 90 or 112.5 degrees to both sides. Half strokes are broad, so an
    arc also fires a pixel or two beside a straight stroke, on the side where it is open;
    narrower ones, tried on held-out digits, gave more errors.
    """
    strokes = [
        tuple((FIRST_STROKE + turn % 16,) for turn in range(4 * j - 2, 4 * j + 3)) for j in range(4)
    ]
    arcs = [tuple((_ray(2 * j + apart), _ray(2 * j - apart)) for apart in (2, 3)) for j in range(8)]
    ends = [
        tuple((FIRST_END + turn % 16,) for turn in range(4 * j - 2, 4 * j + 3)) for j in range(4)
    ]
    crowd = ((THE_CROWD,),)
    fork = tuple(
        (_ray(turn), _ray(turn + apart), _ray(turn - apart))
        for turn in range(16)
        for apart in (4, 5)
    )
    return (*strokes, *arcs, *ends, crowd, fork)
