"""An import that is killed, at any file that it touches and at any time: it goes on where it was."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import wardround
from client.pacs.credentials import VARIABLE
from tests.client.pacs.archive_studies import image, report
from tests.client.pacs.conftest import files_of, records
from tests.client.pacs.orthanc import PASSWORD, USER, Orthanc

NUM_STUDIES = 6
FILES_TOUCHED = 120
"""About as many as an import of the studies touches."""
SECONDS = 0.6
"""About as long as it takes."""

KILLS_ITSELF = """
import os, signal, sys
folder, left = sys.argv.pop(1), int(sys.argv.pop(1))
TOUCH = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect"}

def watch(event, arguments):
    global left
    if event in TOUCH and arguments and os.path.abspath(os.fsdecode(arguments[0] or "")).startswith(folder):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

if left:
    import wardround
    from client.pacs import cli
    sys.addaudithook(watch)
import wardround
wardround.main()
"""
"""A program that is killed when it touches a file of the folder for the so-many-th time; never where that is 0."""


@dataclass
class Proxy:
    """What stands before an archive and counts.

    Attributes:
        url: Its address.
        fetched: Paths of series, and how often each was fetched.
        last_study: The study that was asked for last.
        was_asked: Is set by each question.
    """

    url: str
    fetched: Counter[str] = field(default_factory=Counter)
    last_study: str = ""
    was_asked: threading.Event = field(default_factory=threading.Event)


@contextmanager
def counting_proxy(orthanc: Orthanc) -> Iterator[Proxy]:
    """A proxy before an archive."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            words = self.path.partition("?")[0].strip("/").split("/")
            if words[-2] == "series":
                proxy.fetched[words[-1]] += 1
                proxy.last_study = words[-3]
            proxy.was_asked.set()
            connection = HTTPConnection("127.0.0.1", orthanc.http_port, timeout=20)
            try:
                connection.request("GET", self.path, headers={**self.headers, "Host": "127.0.0.1"})
                answer = connection.getresponse()
                body = answer.read()
            finally:
                connection.close()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                for start in range(0, len(body), 1024):  # slow enough to be killed in the middle
                    self.wfile.write(body[start : start + 1024])
                    time.sleep(0.002)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}/dicom-web")
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def start(url: str, folder: Path, *, kill_at: int = 0) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-c", KILLS_ITSELF, str(folder), str(kill_at), "site", "import", "--dicomweb", url]
    line += ["--since", "2024-01-31", "--until", "2024-01-31", "--out", str(folder), "--per-minute", "60000"]
    root = str(Path(wardround.__file__).parent)
    environment = {**os.environ, "PYTHONPATH": root, VARIABLE: f"{USER}:{PASSWORD}"}
    return subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL)


def kill_somewhere(proxy: Proxy, folder: Path, draw: random.Random) -> bool:
    """Start an import and kill it: at a file that it touches, or a while after its first question.

    Returns:
        Whether it was killed; it may be through before.
    """
    if draw.random() < 0.5:
        process = start(proxy.url, folder, kill_at=draw.randrange(1, FILES_TOUCHED))
    else:
        proxy.was_asked.clear()
        process = start(proxy.url, folder)
        assert proxy.was_asked.wait(30)
        time.sleep(draw.uniform(0, SECONDS))
        process.kill()
    code = process.wait(30)
    assert code in {0, -signal.SIGKILL}
    return code != 0


def check_killed(
    orthanc: Orthanc, folder: Path, *, num_kills: int, draw: random.Random, whole: dict[str, bytes]
) -> tuple[int, Counter[str]]:
    """Import with some kills, then to the end; at no time there is a file that is not one of the whole import.

    Returns:
        How often it was killed before it was through; series, and how often each was fetched.
    """
    num_killed = 0
    in_flight: Counter[str] = Counter()
    with counting_proxy(orthanc) as proxy:
        for _ in range(num_kills):
            proxy.last_study = ""
            if kill_somewhere(proxy, folder, draw):
                num_killed += 1
                time.sleep(0.05)  # for a question that was under way
                in_flight[proxy.last_study] += 1
            assert files_of(folder).items() <= whole.items()
        assert start(proxy.url, folder).wait(60) == 0
        for series, times in proxy.fetched.items():
            assert times <= 1 + in_flight[series.rpartition(".")[0]], (series, times, in_flight)
        return num_killed, Counter(proxy.fetched)


@pytest.fixture
def whole(orthanc: Orthanc, tmp_path: Path) -> dict[str, bytes]:
    """The files of an import that nobody disturbed."""
    for number in range(1, NUM_STUDIES + 1):
        orthanc.store(image(number, side=64), image(number, instance=2, side=64))
        if number != 2:
            orthanc.store(report(number, f"Report {number}."))
    folder = tmp_path / "whole"
    assert start(orthanc.url, folder).wait(60) == 0
    assert len(records(folder)) == 2 * (NUM_STUDIES - 1)
    return files_of(folder)


def test_import_that_is_killed_goes_on_where_it_was(orthanc: Orthanc, whole: dict[str, bytes], tmp_path: Path) -> None:
    folder, draw = tmp_path / "killed", random.Random(197)  # noqa: S311 - draws early kills of both kinds
    num_killed, fetched = check_killed(orthanc, folder, num_kills=4, draw=draw, whole=whole)
    assert num_killed >= 3
    assert len(fetched) == 2 * NUM_STUDIES - 1
    assert files_of(folder) == whole


@pytest.mark.slow
def test_import_that_is_killed_at_fifty_random_points_fetches_only_the_study_in_flight_again(
    orthanc: Orthanc, whole: dict[str, bytes], tmp_path: Path
) -> None:
    num_killed = num_again = 0
    draw = random.Random(0)  # noqa: S311 - a seeded test
    for number in itertools.count():
        folder = tmp_path / f"killed-{number}"
        killed, fetched = check_killed(orthanc, folder, num_kills=2, draw=draw, whole=whole)
        num_killed += killed
        num_again += sum(fetched.values()) - len(fetched)
        assert files_of(folder) == whole
        if num_killed >= 50:
            break
    assert num_again > 10, "the kills hit no study in flight"
