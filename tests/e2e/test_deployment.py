"""A server and three hospitals as separate processes on loopback: over TLS, with node keys, and with everything killed.

The short test of crashes kills each kind of process once; `pytest -m slow tests/e2e/test_deployment.py` kills twenty
times over ten rounds.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.evidence.log_entries import Kind, LogEntry, line_from_bytes
from common.evidence.log_files import LOG_FILE
from server.deploy.runs import Ending, RunFolder, all_runs
from server.deploy.scheduler import rounds_committed
from server.report.summary import validate
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort
from simulations.deployment.loopback import Loopback

pytestmark = pytest.mark.timeout(900)  # a dozen processes on two cores, beside another test

RUN = """\
privacy: {epsilon: 8.0, delta: 1.0e-5}
evaluation: {epsilon: 2.0}
aggregator: {name: mean, num_byzantine: 0}
federation: {quorum: 0.3, deadline_seconds: 25.0}
public_fit: {steps: 20}
encoder: {width: 32, image_depth: 1, report_depth: 1, embedding_dim: 32}
code: {bit_width: 48}
training: {steps_per_round: 1}
"""
PLAN = CohortPlan(
    num_sites=3,
    patients_per_site=60,
    public_patients=80,
    image_size=64,
    site_shift=0.5,
    confounder=False,
    seed=0,
)
KILLED = {
    "SuperLink": "server.deploy.superlink",
    "ServerApp": "flwr-serverapp",
    "SuperNode": "supernode",
    "worker": "client.deploy.worker_main",
}
"""What is killed, and by which words of its command line it is found."""


@pytest.fixture
def loopback(short_folder: Path) -> Loopback:
    """A consortium whose hospitals have joined."""
    found = Loopback(short_folder, PLAN.site_names, environment={"OMP_NUM_THREADS": "1"})
    found.provision(write_cohort(PLAN, short_folder / "cohort"))
    return found


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Processes below a process, with their command lines."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    for child in parents:
        ancestor = child
        while ancestor in parents and ancestor != pid:
            ancestor = parents[ancestor]
        if ancestor == pid and child != pid:
            try:
                yield child, Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue


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


def committed_of(loopback: Loopback) -> int:
    """Rounds of the one run that are on the disk."""
    return max((rounds_committed(run) for run in all_runs(loopback.centre)), default=-1)


def check_evidence(loopback: Loopback, run: RunFolder) -> None:
    """All that is signed holds together: logs, manifest, ledgers, and every release is in a ledger."""
    shutil.rmtree(loopback.folder / "evidence", ignore_errors=True)
    loopback.command("audit", "run", loopback.evidence_of(run.path))
    loopback.command(
        "audit", "log", loopback.centre / "log", *(loopback.state(site) / "log" for site in loopback.sites)
    )


def check_only_rounds_in_flight_were_lost(run: RunFolder) -> None:
    committed = 0
    for event in run.follow()[0]:
        if event["event"] == "round_opened":
            assert event["round"] == committed + 1, "a round was trained again although it was committed"
        elif event["event"] == "round_committed":
            assert event["rounds"] in (committed, committed + 1)
            committed = event["rounds"]


def test_three_hospitals_train_over_tls_and_the_signed_report_holds(loopback: Loopback) -> None:
    """Then one of them has not approved the next run: it refuses, and the others go on."""
    *willing, unwilling = loopback.sites
    with loopback.running():
        loopback.make_bundle(RUN, "federation.rounds=3")
        loopback.approve()
        said = loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file, "--json")
        # The run waits for all members, as long as a round may take, before it begins without one.
        loopback.make_bundle(RUN, "federation.rounds=1", "federation.deadline_seconds=15")
        loopback.approve(willing)
        next_said = loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file, "--json")
    summary: dict[str, Any] = json.loads(said)
    validate(summary)
    assert (summary["status"], summary["rounds_completed"], summary["engine"]) == ("completed", 3, "deployment")
    assert {name: site["rounds_joined"] for name, site in summary["sites"].items()} == dict.fromkeys(loopback.sites, 3)
    assert all(0 < site["epsilon"] <= 8.01 for site in summary["sites"].values())
    first, second = all_runs(loopback.centre)
    report = (second.path / "report.html").read_text(encoding="utf-8")
    assert "hospitals, over TLS" in report
    _check_nothing_of_a_patient_left(loopback)

    next_summary: dict[str, Any] = json.loads(next_said)
    joined = {name: site["rounds_joined"] for name, site in next_summary["sites"].items() if site["rounds_joined"]}
    assert joined == dict.fromkeys(willing, 1)
    refused = [entry for entry in entries_of(loopback.state(unwilling) / "log") if entry.kind is Kind.REFUSAL]
    assert {entry.fields["reason"] for entry in refused} == {"bundle"}

    # The hospitals' logs are newer than the server's copy in the first run's folder; with the last run's they fit.
    loopback.command("audit", "run", first.path)
    check_evidence(loopback, second)
    for run in (first, second):
        check_only_rounds_in_flight_were_lost(run)
    # A report that is changed afterwards is found out.
    evidence = loopback.folder / "evidence"
    (evidence / "report.html").write_text(report.replace("completed", "Completed") + " ", encoding="utf-8")
    assert loopback.attempt("audit", "run", evidence).returncode == 4


def entries_of(folder: Path) -> list[LogEntry]:
    """The entries of a log that nobody has open."""
    return [line_from_bytes(line).entry for line in (folder / LOG_FILE).read_bytes().splitlines()]


def _check_nothing_of_a_patient_left(loopback: Loopback) -> None:
    """No report's words, patient or study identifier of a hospital lies in the server's folder or output."""
    site = loopback.sites[0]
    manifest = (loopback.folder / site / "studies" / "manifest.csv").read_text(encoding="utf-8").splitlines()
    study, patient = manifest[1].split(",")[:2]
    kept = [path for path in loopback.centre.rglob("*") if path.is_file()] + [loopback.log_file("server")]
    for path in kept:
        content = path.read_bytes()
        assert study.encode() not in content, path
        assert patient.encode() not in content, path


@pytest.mark.parametrize(
    ("rounds", "kills"),
    [
        pytest.param(4, 4, id="each-kind-once"),
        pytest.param(10, 20, id="twenty-kills", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
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
            time.sleep(chance.uniform(0.5, 6.0))
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
