"""Write docs/networks.md from the trace of every network, so that no count in it is typed by hand.

python benchmarks/networks_page.py
"""

from collections.abc import Iterator
from pathlib import Path

from striate.models import NETWORKS, networks_by_paper, outline
from striate.tracing import trace

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"

HEAD = """# Networks

Written by `python benchmarks/networks_page.py` from the trace of each network as its paper has it.
[Count a network](describe.md) says what is counted; `striate describe NAME` shows every layer,
`striate draw NAME -o FILE.svg` the picture. Each paper has its file in `src/striate/models/`, with
every departure named. Names that end in `_torchvision` or `_v1_5` are the later variants that
public weights belong to ([Start from published weights](weights.md)); networks that are no
paper's say so in their line. Counts are for one example; GoogLeNet's parameters include its two
auxiliary classifiers, which evaluation does not use.
"""


def render() -> str:
    """Give the page."""
    return HEAD + "\n".join(_tables()) + "\n"


def _tables() -> Iterator[str]:
    for paper, names in networks_by_paper().items():
        yield f"\n## {paper}\n"
        yield "| name | what it is | input | parameters | connections | multiply-adds |"
        yield "|---|---|--:|--:|--:|--:|"
        for name in names:
            network = NETWORKS[name]
            traced = trace(outline(name), network.input_shape)
            shape = "×".join(map(str, network.input_shape))
            counts = (traced.parameters, traced.connections, traced.multiply_adds)
            cells = (f"`{name}`", network.title, shape, *(f"{count:,}" for count in counts))
            yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
