"""A server's metrics: counted by hand from folders of runs, members and nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.service.supervisor import ChildStatus
from server.deploy.control import ControlUnreachable, Node
from server.deploy.installation import Installation, read_installation
from server.deploy.metrics import OTHER, ServerMetrics, last_round
from server.deploy.runs import Ending, Outcome, RunFolder, Wanted
from server.report.words import DROP_REASONS
from tests.server.deploy.joining import NOW, Asking, admitted

KEY = "ab" * 8


@dataclass
class Server:
    """A server that runs, as far as its metrics see one."""

    installation: Installation
    online: Sequence[Node] | None = ()
    is_ready: bool = True
    children: Mapping[str, ChildStatus] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.installation.folder

    def status(self) -> Mapping[str, ChildStatus]:
        """Its processes."""
        return self.children

    def nodes(self) -> Sequence[Node]:
        """Its SuperLink's nodes."""
        if self.online is None:
            raise ControlUnreachable("it starts")
        return self.online


def measured(server: Server, *, now: datetime = NOW) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("wardround_"), *sample.labels.values()): sample.value
        for family in ServerMetrics(server, clock=lambda: now)()
        for sample in family.samples
    }


def new_run(installation: Installation, key: str = KEY, *events: tuple[float, str, dict[str, Any]]) -> RunFolder:
    run = RunFolder(installation.folder / "runs" / key)
    run.path.mkdir(parents=True)
    run.want(Wanted.RUN)
    lines = [
        json.dumps({"time": (NOW + timedelta(seconds=seconds)).isoformat(), "event": event, **fields})
        for seconds, event, fields in events
    ]
    (run.path / "progress.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return run


def node(member: str, *, online: bool) -> Node:
    return Node(id=1, key=member, name="any", online=online)


def test_sites_are_members_and_those_of_them_that_are_online(
    installation: Installation, config_file: Path, site: Asking, other: Asking
) -> None:
    admitted(installation, site.request(installation, "north"))
    admitted(installation, other.request(installation, "south"))
    installation = read_installation(config_file)
    north, south = (installation.members.present[name].node_key for name in ("north", "south"))
    nodes = [node(north, online=True), node(south, online=False), node("ecdsa-sha2-nistp384 stranger", online=True)]
    found = measured(Server(installation, online=nodes))
    assert (found["sites_present",], found["sites_connected",]) == (2, 1)


def test_silent_superlink_has_no_site(installation: Installation) -> None:
    found = measured(Server(installation, online=None, is_ready=False))
    assert (found["sites_connected",], found["ready",]) == (0, 0)


def test_certificates_count_down(installation: Installation) -> None:
    found = measured(Server(installation), now=NOW + timedelta(days=300))
    assert found["days_until_end", "server certificate"] == pytest.approx(365 - 300, abs=0.1)
    assert min(measured(Server(installation), now=NOW + timedelta(days=400)).values()) < -30


def test_runs_are_counted_by_standing_and_one_that_ended_has_no_rounds(installation: Installation) -> None:
    assert sum(value for (name, *_), value in measured(Server(installation)).items() if name == "runs") == 0
    for number, ending in enumerate([Ending.COMPLETED, Ending.FAILED, Ending.FAILED]):
        run = new_run(installation, f"{number:016}", (0, "round_committed", {"rounds": 4, "admitted": 3}))
        run.end(Outcome(ending=ending, reason=None, exit_code=0))
    found = measured(Server(installation))
    standings = {key[1]: value for key, value in found.items() if key[0] == "runs"}
    assert standings == {"completed": 1, "failed": 2, "stopped": 0, "stopping": 0, "running": 0, "waiting": 0}
    assert not [key for key in found if key[0] in {"run_rounds_committed", "last_round_seconds"}]


def test_last_round_is_the_last_that_was_committed(installation: Installation) -> None:
    events = [
        (0.0, "round_opened", {"round": 1, "sites": ["a", "b", "c", "d"]}),
        (1.0, "site_answered", {"site": "a", "problem": "late"}),
        (2.0, "round_committed", {"rounds": 1, "admitted": 3}),
        (10.0, "round_opened", {"round": 2, "sites": ["a", "b", "c", "d"]}),
        (11.0, "site_answered", {"site": "a", "problem": "nan"}),
        (12.0, "interrupted", {"attempts": 1}),
        (20.0, "round_opened", {"round": 2, "sites": ["a", "b", "c", "d"]}),
        (21.0, "site_answered", {"site": "a", "problem": None}),
        (22.0, "site_answered", {"site": "b", "problem": "policy"}),
        (22.5, "site_answered", {"site": "c", "problem": "John Doe"}),
        (23.0, "site_answered", {"site": "d", "problem": "policy"}),
        (24.5, "round_committed", {"rounds": 2, "admitted": 1}),
        (30.0, "round_opened", {"round": 3, "sites": ["a"]}),
        (31.0, "site_answered", {"site": "a", "problem": "late"}),
    ]
    new_run(installation, KEY, *events)
    found = measured(Server(installation))
    assert found["run_rounds_committed", KEY] == 2
    assert found["last_round_seconds",] == 4.5
    assert found["last_round_sites_admitted",] == 1
    dropped = {key[1]: value for key, value in found.items() if key[0] == "last_round_sites_dropped"}
    assert dropped == {"policy": 2, OTHER: 1}
    assert OTHER not in DROP_REASONS


@pytest.mark.parametrize("kinds", [[], ["round_opened"], ["round_opened", "site_answered"], ["round_committed"]])
def test_run_without_a_whole_round_has_no_last_one(kinds: list[str]) -> None:
    assert last_round([{"event": kind} for kind in kinds]) is None


def test_children_are_counted(installation: Installation) -> None:
    server = Server(installation, children={"superlink": {"pid": 1, "restarts": 2, "up_seconds": 3.0}})
    assert measured(server)["child_restarts_total", "superlink"] == 2


def test_no_metric_names_a_site(installation: Installation, config_file: Path, site: Asking) -> None:
    admitted(installation, site.request(installation, "north"))
    new_run(installation, KEY, (0, "round_opened", {"round": 1, "sites": ["north"]}))
    server = replace(Server(read_installation(config_file)), online=())
    assert not [key for key in measured(server) if any("north" in part for part in key)]
