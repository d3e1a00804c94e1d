"""A deployment of three synthetic hospitals for tests: its run, its processes, and what must hold of it afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from server.deploy.runs import RunFolder, all_runs
from server.deploy.scheduler import rounds_committed
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort
from simulations.deployment.hand_out import Source, shares_of
from simulations.deployment.loopback import Loopback

RUN = """\
privacy: {epsilon: 8.0, delta: 1.0e-5, calibrate: false, noise: shared}
evaluation: {epsilon: 2.0}
aggregator: {name: mean, num_byzantine: 0}
federation: {quorum: 0.3, deadline_seconds: 25.0}
public_fit: {steps: 20, validation_fraction: 0.25}
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


def joined(folder: Path) -> Loopback:
    """A consortium whose hospitals have joined."""
    found = Loopback(folder, PLAN.site_names, environment={"OMP_NUM_THREADS": "1"})
    shares_of(Source(root=write_cohort(PLAN, folder / "cohort"))).hand_out(folder)
    found.provision()
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
