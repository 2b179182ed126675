"""The drawings of calibration and rejection, read back."""

from xml.etree import ElementTree

import pytest
import torch

from striate.calibration import calibration
from striate.rejection import curve
from striate.understanding import Answers, thresholds
from striate.understanding_pictures import (
    rejection_drawing,
    rejection_line,
    reliability_drawing,
    sections,
)

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def answers():
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 4, (90,), generator=generator)
    logits = 2 * torch.randn(90, 4, generator=generator)
    logits[torch.arange(90), targets] += 2
    return Answers(logits, targets)


def test_a_disc_stands_where_its_bin_says(answers):
    measured = calibration(answers.confidence("probability"), answers.correct)
    drawing = ElementTree.fromstring(reliability_drawing(measured))
    discs = drawing.findall(f"{SVG}circle")
    full = [entry for entry in measured["bins"] if entry["examples"]]
    assert len(discs) == len(full)
    for disc, entry in zip(discs, full, strict=True):
        assert (float(disc.get("cx")) - 52) / 300 == pytest.approx(entry["confidence"], abs=0.001)
        assert 1 - (float(disc.get("cy")) - 16) / 300 == pytest.approx(entry["accuracy"], abs=0.001)
        assert f"{entry['examples']:,} answers" in disc.find(f"{SVG}title").text


def test_a_line_a_rule_and_a_ring_at_the_threshold(answers):
    curves = {r: curve(answers.confidence(r), answers.correct) for r in ("margin", "probability")}
    chosen = thresholds(answers, 0.05)
    drawing = ElementTree.fromstring(rejection_drawing(curves, chosen))
    lines = drawing.findall(f"{SVG}polyline")
    assert [line.get("class") for line in lines] == ["margin", "probability"]
    rings = drawing.findall(f"{SVG}circle")
    assert len(rings) == 2
    for ring, line in zip(rings, lines, strict=True):
        assert f"{ring.get('cx')},{ring.get('cy')}" in line.get("points")


def test_the_page_s_parts_name_every_class_and_what_is_optimistic(answers):
    chosen = thresholds(answers, 0.05)
    assert "chosen on 90 test images, the ones it is measured on, which is optimistic" in (
        rejection_line(chosen)
    )
    assert "optimistic" not in rejection_line(thresholds(answers, 0.05, answers))
    entry = {"examples": 3, "correct": 2, "precision": None, "recall": 2 / 3, "f1": 0.5}
    html = sections(per_class={"a<b": entry}, reliability="R", rejection="J", chosen=chosen)
    assert "a&lt;b</td><td>3</td><td>2</td><td>-</td><td>66.7 %</td><td>50.0 %" in html
