"""The measures of the ISBI 2012 challenge: how well membranes part the cells they enclose."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Bools = NDArray[np.bool_]
Labels = NDArray[np.int32]
Table = NDArray[np.int64]  # (cells, 1 + segments) pixels of true cells; first, what no segment has

THRESHOLDS = tuple(step / 10 for step in range(10))
# Within this many pixels a piece of membrane must part a cell to count as splitting it.
_REACH = 20


def membrane_scores(
    cell_probabilities: Sequence[NDArray[np.floating[Any]]], truths: Sequence[Bools]
) -> dict[str, Any]:
    """Give the ISBI 2012 challenge's measures, each at its best of the thresholds 0, 0.1, ... 0.9.

    A pixel is cell where its probability is above the threshold, the rest is membrane; cells
    are connected across sides, slice by slice. Only pixels of true cells count in the measures
    of pairs and of information, and there each membrane pixel of the answer is a segment of
    its own.

    - ``pixel_error``: 1 - F of the pixels called cell, over all slices.
    - ``rand_error``: 1 - F of pairs of pixels that lie in one segment, pairs added over slices.
    - ``warping_error``: the truth is bent to the answer by flipping pixels that leave its
      topology as it is, the surest first; the share of pixels that still differ and split or
      merge cells.
    - ``v_rand``, ``v_info``: F of pairs, and of information, after thinning the answer's
      membranes to lines one pixel wide, averaged over slices. These replaced the others.

    Args:
        cell_probabilities: Of each slice, ``(H, W)``, in [0, 1].
        truths: ``(H, W)``, true inside cells.

    Returns:
        The five measures; ``thresholds``: the best one of each. A slice without a cell counts
        in the first and the third alone; where no slice has one, the others are None.

    Source:
        I. Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms
        for connectomics", 2015, and its authors' program, read in full: Trainable_Segmentation
        (``RandError``, ``VariationOfInformation``, ``PixelError``, ``WarpingError``) and the
        script "Segmentation evaluation after border thinning" of 2016 say the foreground rule,
        thinning by watershed with four neighbours, and which averages are over slices. That
        the challenge counted pixels, not clusters, of splits and mergers, within 20 pixels, is
        from published scripts that call that program; the server's own was not to be had.

    Departures:
        The program also tries threshold 1, where nothing is cell. Where lines could lie one
        pixel to either side, its watershed goes by the order of its queue, ours by the pixel's
        parity. It gives 0 to a slice of one cell that is answered as one; we give 1.

    Example:
        >>> truth = np.ones((5, 9), bool)
        >>> truth[:, 4] = False
        >>> scores = membrane_scores([np.where(truth, 0.9, 0.15)], [truth])
        >>> scores["v_rand"], scores["rand_error"], scores["thresholds"]["v_rand"]
        (1.0, 0.0, 0.2)
    """
    cells = [ndimage.label(truth)[0] for truth in truths]
    pixel, pairs, thinned_pairs, information, warping = [], [], [], [], []
    for threshold in THRESHOLDS:
        answers = [probability > threshold for probability in cell_probabilities]
        segments = [ndimage.label(answer)[0] for answer in answers]
        pixel.append(_pixel_score(answers, truths))
        raw = _tables(cells, segments)
        pairs.append(_pair_score(raw) if raw else None)
        thinned = _tables(cells, [thin(each) for each in segments])
        thinned_pairs.append(_average(_pair_score, thinned))
        information.append(_average(_information_score, thinned))
        warping.append(
            sum(
                splits_and_mergers(truth, probability, threshold)
                for truth, probability in zip(truths, cell_probabilities, strict=True)
            )
            / sum(truth.size for truth in truths)
        )
    best = {
        "pixel_error": _best(pixel, error=True),
        "rand_error": _best(pairs, error=True),
        "warping_error": _best([1 - value for value in warping], error=True),
        "v_rand": _best(thinned_pairs),
        "v_info": _best(information),
    }
    return {
        **{name: value for name, (value, _) in best.items()},
        "thresholds": {name: threshold for name, (_, threshold) in best.items()},
    }


def _best(
    scores: Sequence[float | None], *, error: bool = False
) -> tuple[float | None, float | None]:
    """Give the best score, or one minus it, and the lowest threshold that has it."""
    known = [
        (score, threshold)
        for score, threshold in zip(scores, THRESHOLDS, strict=True)
        if score is not None
    ]
    if not known:
        return None, None
    score, threshold = max(known, key=lambda pair: pair[0])
    return (1 - score if error else score), threshold


# ---------------------------------------------------------------- pixels, pairs, information


def _pixel_score(answers: Sequence[Bools], truths: Sequence[Bools]) -> float:
    both = sum(int((a & t).sum()) for a, t in zip(answers, truths, strict=True))
    called = sum(int(a.sum()) + int(t.sum()) for a, t in zip(answers, truths, strict=True))
    return 2 * both / called if called else 1.0


def _tables(cells: Sequence[Labels], segments: Sequence[Labels]) -> list[Table]:
    tables = []
    for cell, segment in zip(cells, segments, strict=True):
        inside = cell > 0
        if inside.any():
            rows, columns = int(cell.max()) + 1, int(segment.max()) + 1
            codes = cell[inside].astype(np.int64) * columns + segment[inside]
            tables.append(np.bincount(codes, minlength=rows * columns).reshape(rows, columns)[1:])
    return tables


def _average(score: Callable[[list[Table]], float], tables: list[Table]) -> float | None:
    return sum(score([table]) for table in tables) / len(tables) if tables else None


def _pair_score(tables: Sequence[Table]) -> float:
    """F of the pairs that lie together, over all tables; a pixel pairs with itself too."""
    both = true = answered = 0
    for table in tables:
        alone = int(table[:, 0].sum())
        both += int((table[:, 1:] ** 2).sum()) + alone
        true += int((table.sum(axis=1) ** 2).sum())
        answered += int((table[:, 1:].sum(axis=0) ** 2).sum()) + alone
    return 2 * both / (true + answered)


def _information_score(tables: Sequence[Table]) -> float:
    """F of the information that either segmentation gives of the other, of a single table."""
    (table,) = tables
    pixels, alone = int(table.sum()), int(table[:, 0].sum())
    singles = alone / pixels * np.log(pixels)
    true = _entropy(table.sum(axis=1), pixels)
    answered = _entropy(table[:, 1:].sum(axis=0), pixels) + singles
    both = _entropy(table[:, 1:].ravel(), pixels) + singles
    if true + answered == 0:
        return 1.0
    return float(2 * (true + answered - both) / (true + answered))


def _entropy(counts: NDArray[np.int64], pixels: int) -> float:
    shares = counts[counts > 0] / pixels
    return float(-(shares * np.log(shares)).sum())


# ---------------------------------------------------------------- thinning


def thin(segments: Labels) -> Labels:
    """Grow segments by turns of one pixel, across sides, until lines of zeros part them.

    Args:
        segments: ``(H, W)``, 0 between them.

    Returns:
        The same with all that is not a line given to the segment that reached it first.

    Example:
        >>> thin(np.array([[1, 1, 0, 0, 0, 2, 0]], np.int32))
        array([[1, 1, 1, 0, 2, 2, 2]], dtype=int32)
    """
    line, outside = -1, -2
    padded = np.pad(segments, 1, constant_values=outside)
    width, flat = padded.shape[1], padded.ravel()
    sides = np.array([-width, -1, 1, width])
    odd = (np.add.outer(np.arange(padded.shape[0]), np.arange(width)) % 2).ravel() == 1
    grown = np.flatnonzero(flat > 0)
    while grown.size:
        around = (grown[:, None] + sides).ravel()
        front = np.unique(around[flat[around] == 0])
        beside = flat[front[:, None] + sides]
        most = beside.max(axis=1)
        least = np.where(beside > 0, beside, most[:, None]).min(axis=1)
        flat[front] = np.where(least == most, most, line)
        # Two fronts that now touch: of two neighbours one is odd, and that one is the line.
        beside = flat[front[:, None] + sides]
        meets = ((beside > 0) & (beside != flat[front][:, None])).any(axis=1)
        flat[front[meets & odd[front] & (flat[front] > 0)]] = line
        grown = front[flat[front] > 0]
    thinned: Labels = np.maximum(padded[1:-1, 1:-1], 0)
    return thinned


# ---------------------------------------------------------------- warping


def _simple_codes() -> bytes:
    """Say for each of 256 surroundings whether flipping the pixel keeps the topology.

    Cells are connected across sides, membranes also across corners; then a pixel is simple if
    Yokoi's number of its surroundings is 1. Bits go around from the right neighbour.
    """
    table = bytearray(256)
    for code in range(256):
        x = [code >> bit & 1 for bit in range(8)] + [code & 1]
        table[code] = sum(x[k] - x[k] * x[k + 1] * x[k + 2] for k in (0, 2, 4, 6)) == 1
    return bytes(table)


_SIMPLE = _simple_codes()


def warp(truth: Bools, probability: NDArray[np.floating[Any]], threshold: float) -> Bools:
    """Bend a truth towards an answer, without joining, parting, making or filling anything.

    Pixels that differ are flipped where that keeps the topology, those farthest from the
    threshold first, by turns until none can be.

    Source:
        V. Jain et al., "Boundary learning by optimization with topological constraints", 2010.
    """
    wanted = np.pad(probability > threshold, 1).ravel()
    sure = np.pad(np.abs(probability.astype(np.float64) - threshold), 1).ravel()
    padded = np.pad(truth, 1)
    height, width = padded.shape
    pixels = bytearray(padded.tobytes())
    bent = np.frombuffer(pixels, np.uint8)
    places = np.arange(padded.size).reshape(height, width).T.ravel()
    before = -1
    while True:
        places = places[bent[places] != wanted[places]]
        if len(places) == before:
            return bent.reshape(height, width)[1:-1, 1:-1].astype(bool)
        before = len(places)
        for i in places[np.argsort(-sure[places], kind="stable")].tolist():
            up, down = i - width, i + width
            code = (
                pixels[i + 1]
                | pixels[up + 1] << 1
                | pixels[up] << 2
                | pixels[up - 1] << 3
                | pixels[i - 1] << 4
                | pixels[down - 1] << 5
                | pixels[down] << 6
                | pixels[down + 1] << 7
            )
            if _SIMPLE[code]:
                pixels[i] ^= 1


def splits_and_mergers(
    truth: Bools, probability: NDArray[np.floating[Any]], threshold: float
) -> int:
    """Count the pixels of a bent truth that differ from the answer and split or merge cells.

    A membrane pixel merges if two cells lie around it; a cell's pixel splits if two cells lie
    around it, or if without it the parts around it hang together nowhere within 20 pixels.
    """
    bent = warp(truth, probability, threshold)
    labels = np.pad(ndimage.label(bent)[0], 1)
    padded = np.pad(bent, _REACH)
    count = 0
    for y, x in np.argwhere(bent != (probability > threshold)).tolist():
        around = _others(labels, y + 1, x + 1)
        if len(around) > 1:
            count += 1
        elif bent[y, x] and around and not labels[y : y + 3, x : x + 3].all():
            near = padded[y : y + 2 * _REACH + 1, x : x + 2 * _REACH + 1].copy()
            near[_REACH, _REACH] = False
            count += len(_others(ndimage.label(near)[0], _REACH, _REACH)) > 1
    return count


def _others(labels: Labels, y: int, x: int) -> set[int]:
    """Name the cells among the eight neighbours of a pixel."""
    return {*labels[y - 1 : y + 2, x - 1 : x + 2].ravel()[[0, 1, 2, 3, 5, 6, 7, 8]].tolist()} - {0}
