"""Fetching from a server on this machine that can be told to misbehave."""

import hashlib
import io
import os
import pty
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from striate import fetching
from striate.datasets import DATASETS
from striate.datasets.catalogue import Member, PublishedFile
from striate.datasets.fetching import fetch_set
from striate.errors import DataError
from striate.fetching import fetch

CONTENT = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(251)) * 37
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = bytes(len(CONTENT))


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content`` at every path; the path's first word is the mood."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        content, server = self.server.content, self.server
        wish = self.headers.get("Range", "")
        server.asked.append((self.path, wish))
        mood = self.path.split("/")[1]
        first = len([path for path, _ in server.asked if path == self.path]) == 1
        start = int(wish.removeprefix("bytes=").rstrip("-")) if wish else 0
        if mood == "absent":
            self.send_error(404)
            return
        if mood == "silent":
            time.sleep(0.6)
            return
        if (mood == "refuses-range" and wish) or start >= len(content):
            self.send_error(416)
            return
        if wish and mood != "ignores-range":
            start += mood == "shifted"
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        else:
            self.send_response(200)
        if "no-length" not in mood:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if (mood.startswith("breaks") and first) or mood == "always-breaks":
            content = content[: len(content) // 3]
        self.wfile.write(content)


class StallingHandler(Handler):
    """Sends the first third, then falls asleep with the connection open."""

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range", "")))
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 3])
        self.wfile.flush()
        time.sleep(0.6)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    content = CONTENT

    def __init__(self, handler=Handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.asked: list[tuple[str, str]] = []

    def url(self, mood: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{mood}/file"


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def serve(handler=Handler):
    server = Server(handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture
def server():
    running = serve()
    yield running
    running.shutdown()
    running.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("mood", ["whole", "no-length"])
def test_a_file_arrives_whole_and_alone(server, tmp_path, mood, size):
    fetch(server.url(mood), tmp_path / "file", sha256=SHA256, size=size)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]


def test_off_a_terminal_one_line_says_what_is_fetched_where_to(server, tmp_path, capsys):
    fetch(server.url("breaks"), tmp_path / "file", sha256=SHA256, size=len(CONTENT))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"fetching {server.url('breaks')} (297,184 bytes) into {tmp_path}\n"


def test_on_a_terminal_a_bar_shows_amount_rate_and_time_left(server, tmp_path):
    program = (
        "import sys; from pathlib import Path; from striate.fetching import fetch; "
        "fetch(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])"
    )
    ours, theirs = pty.openpty()
    arguments = [sys.executable, "-c", program, server.url("whole"), tmp_path / "file", SHA256]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run(arguments, check=True, stderr=theirs, env=environment)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "297.2/297.2 kB" in shown
    assert "0:00:00" in shown
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    fetch(server.url("whole"), tmp_path / "file", sha256=SHA256)
    assert server.asked == []


def test_a_wrong_file_in_its_place_is_replaced(server, tmp_path):
    (tmp_path / "file").write_bytes(OTHER)
    fetch(server.url("whole"), tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("mood", ["breaks", "breaks-no-length"])
def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, tmp_path, mood):
    fetch(server.url(mood), tmp_path / "file", sha256=SHA256, size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [
        (f"/{mood}/file", ""),
        (f"/{mood}/file", f"bytes={len(CONTENT) // 3}-"),
    ]


def test_what_a_broken_download_leaves_is_kept_for_the_next_call(server, tmp_path):
    words = r"broke off after .* of 297,184 bytes; what came is kept, and the same command goes on"
    with pytest.raises(DataError, match=words):
        fetch(server.url("always-breaks"), tmp_path / "file", sha256=SHA256)
    assert names(tmp_path) == ["file.part"]
    kept = (tmp_path / "file.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    assert len(server.asked) == fetching.ATTEMPTS
    fetch(server.url("whole"), tmp_path / "file", sha256=SHA256)
    assert server.asked[-1] == ("/whole/file", f"bytes={kept}-")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_another_address_goes_on_where_the_first_broke_off(server, tmp_path):
    url, mirror = server.url("always-breaks"), server.url("whole")
    fetch(url, tmp_path / "file", sha256=SHA256, mirrors=[mirror])
    assert server.asked[-1][0] == "/whole/file"
    assert server.asked[-1][1] > "bytes="
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("mood", ["ignores-range", "refuses-range", "shifted"])
def test_a_server_that_does_not_continue_our_file_starts_over(server, tmp_path, mood):
    (tmp_path / "file.part").write_bytes(CONTENT[:1_001])
    fetch(server.url(mood), tmp_path / "file", sha256=SHA256, size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked[0][1] == "bytes=1001-"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("kept", [OTHER[:1_001], OTHER, OTHER + b"more", CONTENT + b"more"])
def test_what_was_kept_of_another_file_is_thrown_away(server, tmp_path, kept):
    (tmp_path / "file.part").write_bytes(kept)
    fetch(server.url("whole"), tmp_path / "file", sha256=SHA256, size=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_complete_kept_file_needs_no_request(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    fetch(server.url("absent"), tmp_path / "file", sha256=SHA256, size=len(CONTENT))
    assert server.asked == []
    assert names(tmp_path) == ["file"]


def test_wrong_bytes_are_removed_and_named_by_both_hashes_and_the_address(server, tmp_path):
    server.content = OTHER
    sent = hashlib.sha256(OTHER).hexdigest()[:12]
    words = rf"{server.url('whole')} sent a file with SHA-256 {sent}\.\.\., not {SHA256[:12]}"
    with pytest.raises(DataError, match=words):
        fetch(server.url("whole"), tmp_path / "file", sha256=SHA256, size=len(CONTENT))
    assert names(tmp_path) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("mood", ["whole", "no-length"])
def test_more_bytes_than_published_are_cut_off(server, tmp_path, mood):
    server.content = CONTENT * 9
    with pytest.raises(DataError, match="sends more than the 297,184 bytes of the published file"):
        fetch(server.url(mood), tmp_path / "file", sha256=SHA256, size=len(CONTENT))
    assert names(tmp_path) == []


def test_addresses_are_tried_in_order_until_one_has_the_file(server, tmp_path):
    url, *mirrors = (server.url(mood) for mood in ("absent", "whole", "no-length"))
    fetch(url, tmp_path / "file", sha256=SHA256, mirrors=mirrors)
    assert [path for path, _ in server.asked] == ["/absent/file", "/whole/file"]


def test_one_error_names_every_address_the_reason_and_the_remedy(server, tmp_path):
    gone = Server()
    gone.server_close()
    words = (
        rf"could not fetch file: {server.url('absent')} answers 404 Not Found; "
        rf"{gone.url('whole')} cannot be reached \(.*refused\); "
        rf"download it in a browser into {tmp_path}, "
        rf"or name a folder that has {tmp_path.name}/file with --data-dir$"
    )
    with pytest.raises(DataError, match=words):
        fetch(
            server.url("absent"),
            tmp_path / "file",
            sha256=SHA256,
            mirrors=[gone.url("whole")],
        )
    assert names(tmp_path) == []


def test_a_silent_server_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.1)
    with pytest.raises(DataError, match=r"cannot be reached \(timed out\); download it in a"):
        fetch(server.url("silent"), tmp_path / "file", sha256=SHA256)


def test_a_server_that_falls_silent_in_the_middle_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.5)
    stalling = serve(StallingHandler)
    with pytest.raises(DataError, match=r"broke off after .* bytes \(timed out\); what came is"):
        fetch(stalling.url("whole"), tmp_path / "file", sha256=SHA256)
    assert len(stalling.asked) == fetching.ATTEMPTS
    stalling.shutdown()
    stalling.server_close()


def test_a_folder_that_is_not_there_is_refused(server, tmp_path):
    with pytest.raises(DataError, match=r"could not write .*file.part: No such file"):
        fetch(server.url("whole"), tmp_path / "nowhere" / "file", sha256=SHA256)


def small_set(server, **changes):
    file = PublishedFile("file", SHA256, len(CONTENT))
    addresses = (server.url("absent").removesuffix("file"), server.url("whole")[:-4])
    return replace(DATASETS["usps"], addresses=addresses, files=(file,), **changes)


def test_a_set_is_fetched_into_a_new_folder_and_only_once(server, tmp_path):
    named = small_set(server)
    fetch_set(named, tmp_path / "a" / "b")
    fetch_set(named, tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/absent/file", "/whole/file"]


def test_of_two_that_fetch_at_once_one_waits_for_the_other(server, tmp_path):
    named = small_set(server)
    workers = [threading.Thread(target=fetch_set, args=(named, tmp_path)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(server.asked) == 2
    assert names(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_made_is_refused(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"could not make the folder .* with --data-dir"):
        fetch_set(small_set(server), tmp_path / "file" / "usps")


def archived(server, content=CONTENT):
    """A set whose one file is an archive of one batch, which should hold CONTENT."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("batches/one.bin")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    server.content = packed.getvalue()
    sha256 = hashlib.sha256(server.content).hexdigest()
    member = Member("batches/one.bin", SHA256, len(CONTENT))
    file = PublishedFile("set.tar.gz", sha256, len(server.content), (member,))
    return replace(
        DATASETS["cifar10"], addresses=(server.url("whole").removesuffix("file"),), files=(file,)
    )


def test_an_archive_is_unpacked_and_removed_and_not_fetched_again(server, tmp_path):
    named = archived(server)
    fetch_set(named, tmp_path)
    fetch_set(named, tmp_path)
    assert (tmp_path / "batches" / "one.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["batches"]
    assert len(server.asked) == 1


def test_an_archive_that_was_brought_by_hand_is_unpacked_without_network(server, tmp_path):
    named = archived(server)
    (tmp_path / "set.tar.gz").write_bytes(server.content)
    fetch_set(named, tmp_path)
    assert (tmp_path / "batches" / "one.bin").read_bytes() == CONTENT
    assert server.asked == []


def test_a_damaged_batch_is_fetched_again(server, tmp_path):
    named = archived(server)
    fetch_set(named, tmp_path)
    (tmp_path / "batches" / "one.bin").write_bytes(CONTENT[:-1])
    fetch_set(named, tmp_path)
    assert (tmp_path / "batches" / "one.bin").read_bytes() == CONTENT


def test_an_archive_with_another_batch_inside_is_refused(server, tmp_path):
    with pytest.raises(DataError, match=r"batches/one.bin has SHA-256 .*, not"):
        fetch_set(archived(server, content=OTHER), tmp_path)
    assert not (tmp_path / "batches").exists()


def test_the_first_digits_of_a_sum_are_enough_where_no_more_are_published(server, tmp_path):
    fetch(server.url("whole"), tmp_path / "file", sha256=SHA256[:8])
    fetch(server.url("whole"), tmp_path / "file", sha256=SHA256[:8])
    assert len(server.asked) == 1
    server.content = OTHER
    with pytest.raises(DataError, match=rf"SHA-256 \w{{12}}\.\.\., not {SHA256[:8]}\.\.\.;"):
        fetch(server.url("whole"), tmp_path / "other", sha256=SHA256[:8])
    assert names(tmp_path) == ["file"]
