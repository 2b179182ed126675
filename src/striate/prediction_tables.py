"""What a network said of images, as JSON, CSV or a table for the terminal."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from striate.prediction import NO_FIGURE, Prediction

# The table says of so many images what was done to them.
MOST_NOTED = 10


def as_json(predictions: Sequence[Prediction]) -> str:
    """Write predictions as a JSON list of objects with the fields of ``Prediction``."""
    rows = [
        {
            **prediction._asdict(),
            "top": [{"label": label, "probability": share} for label, share in prediction.top],
        }
        for prediction in predictions
    ]
    return json.dumps(rows, indent=2) + "\n"


def as_csv(predictions: Sequence[Prediction]) -> str:
    """Write predictions as CSV: path, label, probability, the further classes, the notes.

    Example:
        >>> one = Prediction("a.png", "7", 0.75, (("7", 0.75), ("1", 0.25)), ("inverted",))
        >>> print(as_csv([one]), end="")
        path,label,probability,label_2,probability_2,notes
        a.png,7,0.75,1,0.25,inverted
    """
    ranks = range(2, 1 + max((len(prediction.top) for prediction in predictions), default=1))
    further = [f"{name}_{rank}" for rank in ranks for name in ("label", "probability")]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "probability", *further, "notes"])
    for path, label, probability, top, notes in predictions:
        more = (cell for pair in top[1:] for cell in pair)
        writer.writerow([path, label, probability, *more, "; ".join(notes)])
    return text.getvalue()


def as_table(predictions: Sequence[Prediction], *, further: int = 0) -> RenderableType:
    """Lay predictions out for the terminal: the classes of one image, or a line an image.

    What was done to the images follows, for the first ten that were changed.

    Args:
        predictions: In their order.
        further: Of several images, how many classes are named after the first.
    """
    if len(predictions) == 1:
        path, _, _, top, notes = predictions[0]
        table = Table("class", "probability", title=Text(path), title_justify="left")
        for label, share in top:
            table.add_row(Text(label), f"{share:.2%}")
        return Group(table, *(Text(f"· {note}") for note in notes))
    table = Table()
    table.add_column("image", overflow="fold", ratio=3)
    table.add_column("class", overflow="fold", ratio=2)
    table.add_column("probability", justify="right", no_wrap=True)
    if further:
        table.add_column("then", overflow="fold", ratio=3)
    for path, label, share, top, _ in predictions:
        others = ", ".join(f"{name} {of_it:.2%}" for name, of_it in top[1 : 1 + further])
        then = (Text(others),) if further else ()
        table.add_row(Text(path), Text(label or "(withheld)"), f"{share:.2%}", *then)
    counts = Counter(prediction.label or "withheld" for prediction in predictions).most_common()
    summary = ", ".join(f"{count:,} × {label}" for label, count in counts)
    noted = [prediction for prediction in predictions if prediction.notes]
    noted.sort(key=lambda prediction: NO_FIGURE not in prediction.notes)
    lines = [Text(f"{len(predictions):,} images" + (f": {summary}" if counts else ""))]
    lines += [Text(f"{path}: {'; '.join(notes)}") for path, *_, notes in noted[:MOST_NOTED]]
    if len(noted) > MOST_NOTED:
        lines.append(Text(f"and {len(noted) - MOST_NOTED:,} more were changed; --json says how"))
    return Group(table, *lines)
