"""`wardround bench search --deployment`: a question to three hospitals over real processes and TLS, from end to end.

A hospital encodes words or a picture, searches its own index, and asks the two others by the channel of a completed
run; the time ends when the server's answer was checked. The process that asks stays up, as the page's does; a row of
its own says what the command takes, which starts Python anew each time.

* The bound is an empty round trip over the same channel: a question that both others refuse at once, because they took
  their approval of the run back. What is left of the time above it is gate, log, book and index.
* The peer is Flower's plain way of asking two nodes that do nothing: its own processes, without TLS.
* "At the slower hospital" is what its relay took from the question to its reply; what is left of a question's time is
  the way: Flower's looks for messages and replies, and HTTPS.
"""

from __future__ import annotations

import csv
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.deploy.searcher import Searcher
from client.policy.site_config import load_site_config
from client.search.index import Gallery
from client.search.query import Query
from common.errors import BundleRefused, CheckFailed
from common.model import load_model
from common.wire.searching import QUESTION_TYPE
from server.deploy.runs import RunFolder, all_runs
from simulations.benchmarks.deployment import PEER, PLAN, RUN, between
from simulations.benchmarks.plain_flower import round_ends
from simulations.benchmarks.report import Row
from simulations.cohorts.write import write_cohort
from simulations.deployment.folders import studies_of
from simulations.deployment.hand_out import Source, shares_of
from simulations.deployment.loopback import Loopback

NUM_QUERIES, NUM_WARM_UP, NUM_COMMANDS = 25, 3, 3
"""Of each kind that count, before them, and as commands."""
K = 10
_OPEN_LIMITS = "  questions_per_hour: 1000000\n  nearby_per_day: 1000000\n  studies_per_day: 1000000\n"
"""A benchmark asks more often than a hospital lets another: these lines end `search` in site.yaml."""
_ANSWERED = re.compile(rf"answered {re.escape(QUESTION_TYPE)} of .*? in (\d+\.\d\d) s")


def bench_search_deployment() -> list[Row]:
    """Queries of one hospital among three, by words and by picture."""
    with tempfile.TemporaryDirectory(prefix="wardround-") as name:
        folder = Path(name)
        (plain := folder / "plain").mkdir()
        peer = between(round_ends(plain, num_sites=PLAN.num_sites - 1, num_rounds=NUM_QUERIES))
        (ours := folder / "ours").mkdir()
        with _open_consortium(ours) as (loopback, run):
            return list(_rows(loopback, run, peer_seconds=peer))


@contextmanager
def _open_consortium(folder: Path) -> Iterator[tuple[Loopback, RunFolder]]:
    """Three hospitals whose run is open for searching, and which answer as often as they are asked."""
    shares = shares_of(Source(root=write_cohort(PLAN, folder / "cohort")))
    shares.hand_out(folder)
    loopback = Loopback(folder, shares.sites)
    loopback.provision()
    for site in loopback.sites:
        with loopback.site_file(site).open("a", encoding="utf-8") as file:
            file.write(_OPEN_LIMITS)
    loopback.make_bundle(RUN, "federation.rounds=1")
    loopback.approve()
    with loopback.running():
        loopback.run()
        (run,) = all_runs(loopback.centre)
        loopback.open_search(run)
        yield loopback, run


def _rows(loopback: Loopback, run: RunFolder, *, peer_seconds: float) -> Iterator[Row]:
    asker, *others = loopback.sites
    words, pictures = queries_of(studies_of(loopback.folder, asker), number=NUM_WARM_UP + NUM_QUERIES)
    asking = Asking(asker, loopback)
    timed = {kind: asking.timed(queries) for kind, queries in (("text", words), ("image", pictures))}
    commands = [_command_seconds(loopback, asker, query) for query in words[:NUM_COMMANDS]]
    for site in others:
        withdrawn = run.bundle().hash
        loopback.command("site", "approve", "--withdraw", withdrawn, "--config", loopback.site_file(site))
    bound = statistics.median(asking.empty(words))
    for kind, took in timed.items():
        yield Row(
            name=f"{kind} query, 3 sites",
            seconds=statistics.median(took.whole),
            peer=PEER,
            peer_seconds=peer_seconds,
            bound_seconds=bound,
        )
        yield Row(name=f"{kind} query, slowest of {NUM_QUERIES}", seconds=max(took.whole))
        yield Row(name=f"{kind} query, code and own index", seconds=statistics.median(took.own))
        yield Row(name=f"{kind} query, at the slower site", seconds=statistics.median(took.away))
    yield Row(name="command with its start, text", seconds=statistics.median(commands))


def queries_of(studies: Path, *, number: int) -> tuple[list[Query], list[Query]]:
    """Queries by words and by picture, of a hospital's own studies; each of another study."""
    with (studies / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    words = [Query(text=report, image=None) for report in dict.fromkeys(row["report"] for row in rows)]
    pictures = [Query(text=None, image=studies / row["image_path"]) for row in rows]
    return words[:number], pictures[:number]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Seconds of each query.

    Attributes:
        whole: From the words or the picture to the checked answer.
        own: To its code and the own hospital's studies: before anybody is asked.
        away: From question to reply at the slower of the other hospitals, by its relay's log.
    """

    whole: list[float]
    own: list[float]
    away: list[float]


class Asking:
    """The hospital that asks, in this process.

    Args:
        site: Its name.
        loopback: The consortium.
    """

    def __init__(self, site: str, loopback: Loopback) -> None:
        self._model = load_model(loopback.model)
        self._searcher = Searcher(load_site_config(loopback.site_file(site)), self._model)
        self._logs = [loopback.log_file(other) for other in loopback.sites if other != site]

    def timed(self, queries: Sequence[Query]) -> Timed:
        """Seconds of queries; the first few bring code and pages into memory, and do not count.

        Raises:
            CheckFailed: A hospital did not answer one.
        """
        before = [len(answered_in(log)) for log in self._logs]
        whole, own = [], []
        for query in queries:
            begin = time.perf_counter()
            code_P = query.code_P(self._model)
            self._searcher.own(code_P, gallery=Gallery.IMAGES, k=K)
            own.append(time.perf_counter() - begin)
            answer = self._searcher.others(code_P, gallery=Gallery.IMAGES, k=K)
            whole.append(time.perf_counter() - begin)
            if answer.partial:
                raise CheckFailed(f"a hospital did not answer: {answer.silent}")
        took = [answered_in(log)[start:] for log, start in zip(self._logs, before, strict=True)]
        away = [max(of_one) for of_one in zip(*took, strict=True)]
        return Timed(whole=whole[NUM_WARM_UP:], own=own[NUM_WARM_UP:], away=away[NUM_WARM_UP:])

    def empty(self, queries: Sequence[Query]) -> list[float]:
        """Seconds of questions that the others refuse at once, each from its code to the checked answer.

        Raises:
            CheckFailed: A hospital did otherwise.
        """
        seconds = []
        for query in queries:
            code_P = query.code_P(self._model)
            begin = time.perf_counter()
            answer = self._searcher.others(code_P, gallery=Gallery.IMAGES, k=K)
            seconds.append(time.perf_counter() - begin)
            if {one.reason for one in answer.silent} != {BundleRefused.reason} or answer.answered:
                raise CheckFailed(f"a hospital answered what it approved no more, or was silent: {answer.silent}")
        return seconds[NUM_WARM_UP:]


def answered_in(log: Path) -> list[float]:
    """Seconds that a relay took for each question, from its log."""
    return [float(seconds) for seconds in _ANSWERED.findall(log.read_text(encoding="utf-8"))]


def _command_seconds(loopback: Loopback, site: str, query: Query) -> float:
    begin = time.perf_counter()
    loopback.search(site, "--text", str(query.text))
    return time.perf_counter() - begin
