"""Every block of the README and the how-to pages runs; the numbers come from result files."""

import importlib
import io
import json
import re
import shlex
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import real_data
from striate.cli import run_command
from striate.models import NETWORKS

ROOT = Path(__file__).parents[1]
# In the order in which a person reads them; the later use what the earlier made.
HOW_TO = [
    ROOT / "docs" / f"{name}.md"
    for name in ("train", "weights", "evaluate", "predict", "segment", "describe", "draw")
]
PAGES = [ROOT / "README.md", *HOW_TO, *sorted(set((ROOT / "docs").glob("*.md")) - set(HOW_TO))]


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(sh|python)\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)


def test_every_block_of_every_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    digit = np.zeros((90, 70), np.uint8)
    digit[10:80, 30:40] = 255
    (tmp_path / "photographs").mkdir()
    for place in ("scan.png", "photographs/one.png"):
        Image.fromarray(255 - digit).save(tmp_path / place)
    run = 0
    for page in PAGES:
        names: dict[str, object] = {}
        for kind, text in blocks(page):
            run += 1
            if kind == "python":
                exec(text, names)
                continue
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                assert program == "striate"
                if (
                    "train" in arguments
                    and "--epochs" not in arguments
                    and "--resume" not in arguments
                ):
                    arguments += ["--epochs", "2"]  # at full length `make demo` runs it
                assert run_command(arguments) == 0, f"{line}: {capsys.readouterr().err}"
    assert run >= 12


def test_the_lines_of_the_readme_on_own_images_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    sheet = np.array(Image.open(real_data("cifar10") / "test_0.webp"))
    pixels = sheet.reshape(25, 32, 40, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
    labels = np.fromfile(real_data("cifar10") / "test_labels.u8", np.uint8)
    classes = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    for index in range(240):
        part = "train" if index < 200 else "test"
        place = tmp_path / "cifar10-png" / part / classes[labels[index]] / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[index]).save(place)
    photographs = real_data("imagenet-sample")
    (tmp_path / "imagenet-sample").symlink_to(photographs)
    files = sorted((photographs / "images").glob("*/*.JPEG"))[:40]
    (tmp_path / "shards").mkdir()
    for shard in range(4):
        with tarfile.open(tmp_path / "shards" / f"photographs-{shard:04d}.tar", "w") as archive:
            for number, file in enumerate(files[shard::4]):
                archive.add(file, f"{shard}{number}.jpg")
                label = tarfile.TarInfo(f"{shard}{number}.cls")
                label.size = 1
                archive.addfile(label, io.BytesIO(b"%d" % (number % 2)))
    text = (ROOT / "README.md").read_text("utf-8")
    section = text[text.index("## Your own images") : text.index("| I want to | page |")]
    lines = re.findall(r"^    (striate .*)$", section, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        _, *arguments = shlex.split(line)
        arguments += ["--epochs", "1", "--time", "1s"] * ("train" in arguments)
        expected = 3 if "check" in arguments else 0  # two parts of CIFAR-10 hold near copies
        code = run_command(arguments)
        assert code in (0, expected), f"{line}: {capsys.readouterr().err}"


def test_every_network_s_paper_stands_in_the_readme_s_table():
    text = (ROOT / "README.md").read_text("utf-8")
    listed = set(re.findall(r"`(\w+)`", text[text.index("## Networks") :]))
    papers = {network.module for network in NETWORKS.values()}
    assert {NETWORKS[name].module for name in listed if name in NETWORKS} == papers


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_the_drawings_are_what_the_program_draws(tmp_path):
    drawings = sorted((ROOT / "docs" / "images").glob("*.svg"))
    assert drawings
    for drawing in drawings:
        new = tmp_path / drawing.name
        assert run_command(["draw", drawing.stem, "-o", str(new)]) == 0
        assert new.read_bytes() == drawing.read_bytes(), f"striate draw {drawing.stem} -o {drawing}"


@pytest.mark.parametrize("page", ["networks", "results"])
def test_a_page_with_numbers_is_written_by_its_program(page, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    program = importlib.import_module(f"{page}_page")
    assert (ROOT / "docs" / f"{page}.md").read_text("utf-8") == program.render()


def test_every_result_says_on_what_it_was_measured():
    files = list((ROOT / "docs" / "results").glob("*.json"))
    assert files
    for file in files:
        machine = json.loads(file.read_text("utf-8"))["machine"]
        assert {"processor", "torch", "striate", "date"} <= set(machine), file.name
