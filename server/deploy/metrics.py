"""What a server tells Prometheus: sites, runs, the last round, its processes, and when its certificates end.

Everything is counted when it is asked for, from the SuperLink and from the runs' folders. Sites are counted, never
named; a run is called by its key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from prometheus_client.core import Metric

from common.service.metrics import gauge, gauges, of_children
from common.service.supervisor import ChildStatus
from server.deploy.config import CONFIG_FILE
from server.deploy.control import ControlError, Node
from server.deploy.installation import Installation, read_installation
from server.deploy.rotate import crossover
from server.deploy.runs import RunFolder, Standing, all_runs
from server.deploy.scheduler import rounds_committed
from server.report.words import DROP_REASONS

OTHER = "other"
"""The reason of a site that gave one that is not known: what sites say makes no new metric."""

_DAY = timedelta(days=1)


class Watched(Protocol):
    """A server that runs."""

    @property
    def folder(self) -> Path:
        """Its folder."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether its SuperLink knows the members."""
        ...

    def status(self) -> Mapping[str, ChildStatus]:
        """Its processes."""
        ...

    def nodes(self) -> Sequence[Node]:
        """Its SuperLink's nodes.

        Raises:
            ControlError: It does not answer.
        """
        ...


class ServerMetrics:
    """Counts a server.

    Args:
        server: The server.
        clock: The time.
    """

    def __init__(self, server: Watched, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._server = server
        self._clock = clock

    def __call__(self) -> Iterator[Metric]:
        """All of it, now."""
        yield gauge("ready", "Whether the server knows its members and takes sites.", float(self._server.is_ready))
        yield from of_children(self._server.status())
        # Anew: certificates and members change while the server runs.
        installation = read_installation(self._server.folder / CONFIG_FILE)
        yield from self._sites(installation)
        yield from self._ends(installation)
        yield from _of_runs(all_runs(installation.folder))

    def _sites(self, installation: Installation) -> Iterator[Metric]:
        members = {member.node_key for member in installation.members.present.values()}
        try:
            connected = [node for node in self._server.nodes() if node.online and node.key in members]
        except ControlError:
            connected = []
        yield gauge("sites_present", "Members of the consortium.", len(members))
        yield gauge("sites_connected", "Members that were heard of lately.", len(connected))

    def _ends(self, installation: Installation) -> Iterator[Metric]:
        over, now = crossover(installation), self._clock()
        expiries = (*installation.expiries, *(() if over is None else (over,)))
        days = {expiry.what: (expiry.end - now) / _DAY for expiry in expiries}
        yield gauges("days_until_end", "Days until a certificate ends; below 0 after it has.", "what", days)


def _of_runs(runs: Sequence[RunFolder]) -> Iterator[Metric]:
    standings = Counter(run.standing for run in runs)
    counts = {str(standing): standings[standing] for standing in Standing}
    yield gauges("runs", "Runs, by where they stand.", "standing", counts)
    current = next((run for run in runs if run.outcome is None), None)
    if current is not None:
        yield from _of_run(current)


def _of_run(run: RunFolder) -> Iterator[Metric]:
    """The run that goes on, and its last round."""
    yield gauges("run_rounds_committed", "Rounds of the run that goes on.", "run", {run.key: rounds_committed(run)})
    last = last_round(run.follow()[0])
    if last is None:
        return
    *opened_and_answers, committed = last
    seconds = (_time_of(committed) - _time_of(last[0])).total_seconds()
    yield gauge("last_round_seconds", "From opening the last round to its commit.", seconds)
    yield gauge("last_round_sites_admitted", "Sites whose answer the last round took.", committed["admitted"])
    problems = [event["problem"] for event in opened_and_answers if event["event"] == "site_answered"]
    dropped = Counter(problem if problem in DROP_REASONS else OTHER for problem in problems if problem is not None)
    yield gauges("last_round_sites_dropped", "Sites that the last round left out, by reason.", "reason", dropped)


def last_round(events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]] | None:
    """The events of the last round that was committed, from its opening to its commit; None before there was one."""
    kinds = [event["event"] for event in events]
    if "round_committed" not in kinds:
        return None
    commit = len(kinds) - 1 - kinds[::-1].index("round_committed")
    openings = [number for number in range(commit) if kinds[number] == "round_opened"]
    return events[openings[-1] : commit + 1] if openings else None


def _time_of(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])
