"""`wardround bench round --deployment`: a round over real processes and TLS, beside Flower's plain way, in one run.

Ours is a whole private round of a small model: TLS, node keys, shared noise, gate, ledger, audit logs, checkpoint and
manifest; the sites train one step. Flower's is a round of sites that send back what they got, without TLS. So the ratio
is a lower bound.
"""

from __future__ import annotations

import statistics
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from server.deploy.runs import RunFolder, all_runs
from simulations.benchmarks.plain_flower import round_ends
from simulations.benchmarks.report import Row
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort
from simulations.deployment.hand_out import Source, shares_of
from simulations.deployment.loopback import Loopback

NUM_ROUNDS = 8
NUM_PEER_ROUNDS = 5
PEER = "flower superlink and supernodes"
RUN = """\
privacy: {epsilon: 8.0, delta: 1.0e-5, calibrate: false, noise: shared}
evaluation: {epsilon: 2.0}
aggregator: {name: mean, num_byzantine: 0}
federation: {quorum: 1.0}
public_fit: {steps: 10}
encoder: {width: 32, image_depth: 1, report_depth: 1, embedding_dim: 32}
code: {bit_width: 48}
training: {steps_per_round: 1}
"""
PLAN = CohortPlan(
    num_sites=3, patients_per_site=60, public_patients=80, image_size=64, site_shift=0.5, confounder=False, seed=0
)


def bench_deployment() -> list[Row]:
    """A round of three sites, from commit to commit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (plain := folder / "plain").mkdir()
        peer = between(round_ends(plain, num_sites=PLAN.num_sites, num_rounds=NUM_PEER_ROUNDS))
        (ours := folder / "ours").mkdir()
        seconds = between(_commits(ours))
    return [Row(name="round, 3 sites, deployment", seconds=seconds, peer=PEER, peer_seconds=peer)]


def _commits(folder: Path) -> list[float]:
    """When each of our rounds was committed."""
    shares = shares_of(Source(root=write_cohort(PLAN, folder / "cohort")))
    shares.hand_out(folder)
    loopback = Loopback(folder, shares.sites)
    loopback.provision()
    loopback.make_bundle(RUN, f"federation.rounds={NUM_ROUNDS}")
    loopback.approve()
    with loopback.running():
        loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file)
    (run,) = all_runs(loopback.centre)
    return _commits_of(run)


def _commits_of(run: RunFolder) -> list[float]:
    # The last measurement is committed too, but is no round.
    seen: dict[int, float] = {}
    for event in run.follow()[0]:
        if event["event"] == "round_committed":
            seen.setdefault(int(event["rounds"]), datetime.fromisoformat(event["time"]).timestamp())
    return list(seen.values())


def between(ends: list[float]) -> float:
    """Median seconds from each end to the next."""
    return statistics.median(after - before for before, after in pairwise(ends))
