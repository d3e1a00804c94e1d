"""A deployment in which everything is killed, and one in which an answer comes late: the run completes all the same.

The short test kills each kind of process once; `pytest -m slow tests/e2e/test_killed_processes.py` kills twenty times
over ten rounds, and holds a worker up for longer than a round may take.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from typing import Any

import pytest

from server.deploy.runs import Ending, all_runs
from simulations.deployment.loopback import Loopback
from tests.e2e.deployed import (
    RUN,
    check_evidence,
    check_only_rounds_in_flight_were_lost,
    committed_of,
    descendants,
)

pytestmark = pytest.mark.timeout(900)  # a dozen processes on two cores, beside another test

KILLED = {
    "SuperLink": "server.deploy.superlink",
    "ServerApp": "flwr-serverapp",
    "SuperNode": "supernode",
    "worker": "client.deploy.worker_main",
}
"""What is killed, and by which words of its command line it is found."""


def kill_one(loopback: Loopback, kind: str, chance: random.Random) -> bool:
    """Kill one process of a kind, as the kernel does it; False where there is none now."""
    found = [
        pid
        for process in list(loopback.processes.values())
        for pid, command in descendants(process.pid)
        if KILLED[kind] in command
    ]
    if not found:
        return False
    try:
        os.kill(chance.choice(sorted(found)), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("rounds", "kills"),
    [
        pytest.param(8, 4, id="each-kind-once"),
        pytest.param(40, 20, id="twenty-kills", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_whatever_is_killed_the_run_completes_and_the_evidence_holds(
    loopback: Loopback, rounds: int, kills: int
) -> None:
    chance = random.Random(rounds)  # noqa: S311 - which process dies, and when
    kinds = [list(KILLED)[number % len(KILLED)] for number in range(kills)]
    chance.shuffle(kinds)
    loopback.make_bundle(RUN, f"federation.rounds={rounds}")
    loopback.approve()
    done: list[str] = []

    def chaos() -> None:
        for number, kind in enumerate(kinds):
            # Spread over the rounds; each at any moment of its round, or of what an earlier one broke.
            while not ended.is_set() and committed_of(loopback) < number * rounds // kills:
                time.sleep(0.1)
            time.sleep(chance.uniform(0.2, 2.0))
            while not ended.is_set() and not kill_one(loopback, kind, chance):
                time.sleep(0.1)
            if ended.is_set():
                return
            done.append(kind)

    ended = threading.Event()
    with loopback.running():
        killer = threading.Thread(target=chaos)
        killer.start()
        try:
            loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file)
        finally:
            ended.set()
            killer.join()
    (run,) = all_runs(loopback.centre)
    assert run.outcome is not None
    assert run.outcome.ending is Ending.COMPLETED
    assert sorted(done) == sorted(kinds), "the run ended before everything was killed"
    check_only_rounds_in_flight_were_lost(run)
    check_evidence(loopback, run)


@pytest.mark.slow
def test_late_answer_costs_its_site_the_round_and_is_no_error_of_the_server(loopback: Loopback) -> None:
    deadline, late = 10, loopback.sites[0]
    loopback.make_bundle(RUN, "federation.rounds=4", f"federation.deadline_seconds={deadline}")
    loopback.approve()

    def hold_up() -> None:
        while committed_of(loopback) < 1:
            time.sleep(0.1)
        workers = [pid for pid, command in descendants(loopback.processes[late].pid) if KILLED["worker"] in command]
        for signal_number, seconds in ((signal.SIGSTOP, deadline + 7), (signal.SIGCONT, 0)):
            for pid in workers:
                os.kill(pid, signal_number)
            time.sleep(seconds)

    with loopback.running():
        thread = threading.Thread(target=hold_up)
        thread.start()
        loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file)
        thread.join()
    (run,) = all_runs(loopback.centre)
    summary: dict[str, Any] = json.loads((run.path / "summary.json").read_bytes())
    assert summary["sites"][late]["drops"] == {"late": 1}
    assert {name: site["rounds_joined"] for name, site in summary["sites"].items()} == {
        name: 3 if name == late else 4 for name in loopback.sites
    }
    for name in ("server", *loopback.sites):
        log = loopback.log_file(name).read_text(encoding="utf-8")
        assert "Traceback" not in log
        assert "500 Internal" not in log
    assert "came after its question had expired" in loopback.log_file("server").read_text(encoding="utf-8")
