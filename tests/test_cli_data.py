"""`striate data check`: its lines, its exit code, its JSON and its page."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from checking import make_faulty
from striate import data_check, datasets
from striate.cli import run_command


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    listing = make_faulty(tmp_path / "<set> & more")
    monkeypatch.setattr(datasets, "list_images", lambda data, layout: listing, raising=False)
    return str(tmp_path / "<set> & more")


@pytest.fixture
def in_memory(monkeypatch):
    monkeypatch.setattr(datasets, "list_images", lambda data, layout: None, raising=False)


def test_a_faulty_set_ends_with_3_and_names_the_files(faulty, capsys):
    assert run_command(["data", "check", faulty, "--workers", "0"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "set: 17 images in 4 classes"
    assert "broken: 1 (must be looked at)" in lines
    assert "twice: 1 (for you to know)" in lines
    assert any("train/cat/text.jpg: holds text, starting with" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_limit_of_pixels_is_the_users(faulty, capsys):
    run_command(["data", "check", faulty, "--workers", "0", "--max-pixels", "2000", "--json"])
    told = json.loads(capsys.readouterr().out)
    large = next(finding for finding in told["findings"] if finding["kind"] == "too large")
    assert large["count"] == 17 - 3  # all but the text, one of 40 by 32 and one of 40 by 40 pixels
    assert told["must_be_looked_at"]


def test_a_sound_set_in_memory_ends_with_0(in_memory, capsys):
    assert run_command(["data", "check", "digits"]) == 0
    assert "nothing found that must be looked at" in capsys.readouterr().out


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.text, self.tags = [], "", []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, text):
        self.text += text


def test_the_page_stands_alone_and_shows_what_was_found(faulty, capsys, tmp_path):
    out = tmp_path / "page.html"
    assert run_command(["data", "check", faulty, "--workers", "0", "-o", str(out)]) == 3
    page = _Page()
    page.feed(out.read_text())
    assert all(source.startswith("data:image/") for source in page.sources)
    assert len(page.sources) == 10 + (6 + 6 + 1)  # found, and a sample of each class
    assert "train/cat/text.jpg" in page.text
    assert "<set> & more" in page.text
    assert "set" not in page.tags
    assert {"script", "link"} & set(page.tags) == set()
    assert str(out) in capsys.readouterr().err


def test_a_page_does_without_images_that_went_away_since_the_check(faulty, monkeypatch, tmp_path):
    looked = data_check.check

    def check_and_lose(listing, **options):
        report = looked(listing, **options)
        for place in listing.places[3:]:
            Path(place.path).unlink()
        return report

    monkeypatch.setattr(data_check, "check", check_and_lose)
    out = tmp_path / "page.html"
    assert run_command(["data", "check", faulty, "--workers", "0", "-o", str(out)]) == 3
    page = _Page()
    page.feed(out.read_text())
    assert 0 < len(page.sources) < 13
    assert page.text.count("not readable") >= 10


def test_a_page_of_a_set_in_memory_has_its_images(in_memory, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert run_command(["data", "check", "digits", "--out", str(out)]) == 0
    page = _Page()
    page.feed(out.read_text())
    assert len(page.sources) == 60  # six of each class


def test_a_place_that_cannot_be_written_is_refused_before_the_work(faulty, capsys, tmp_path):
    out = tmp_path / "nowhere" / "page.html"
    assert run_command(["data", "check", faulty, "--out", str(out)]) == 3
    assert "nowhere is no folder; make it, or name another place" in capsys.readouterr().err
