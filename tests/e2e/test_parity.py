"""One recipe, two runtimes: the simulation and the deployment of one config, with one noise, give the same bits."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import wardround
from common.config.load import load_config
from server.deploy.runs import all_runs
from server.report.write import ROUNDS_FILE
from simulations.cohorts.write import write_cohort
from simulations.deployment.hand_out import Source, shares_of
from simulations.deployment.loopback import Loopback
from simulations.scenarios.simulate import simulate
from tests.e2e.deployed import PLAN, RUN
from tests.e2e.repeatable_agent import noise_of

pytestmark = pytest.mark.timeout(900)  # as in `test_deployment.py`

ROOT = Path(wardround.__file__).parent
SPLIT = "fixed"


def write_splits(cohort: Path, folders: list[Path]) -> None:
    """One cut for both runtimes: every fifth group of a hospital is held out."""
    with (cohort / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    roles: dict[str, str] = {}
    for row in rows:
        held_out = len(roles) % 5 == 0
        roles.setdefault(row["split_group"], "public" if row["site"] == "public" else "test" if held_out else "train")
    text = f"split_group,{SPLIT}\n" + "".join(f"{group},{role}\n" for group, role in roles.items())
    for folder in (cohort, *folders):
        (folder / "splits.csv").write_text(text, encoding="utf-8")


def test_simulation_and_deployment_give_the_same_bits(short_folder: Path, quiet_watcher: Any) -> None:
    cohort = write_cohort(PLAN, short_folder / "cohort")
    loopback = Loopback(
        short_folder,
        PLAN.site_names,
        environment={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        agent=(sys.executable, str(Path(__file__).with_name("repeatable_agent.py"))),
    )
    shares_of(Source(root=cohort)).hand_out(short_folder)
    loopback.provision()
    write_splits(cohort, [short_folder / site / "studies" for site in loopback.sites])
    for site in loopback.sites:
        text = loopback.site_file(site).read_text(encoding="utf-8")
        loopback.site_file(site).write_text(text.replace("  root: studies\n", f"  root: studies\n  split: {SPLIT}\n"))
    run = f"{RUN}workers: 1\ndata: {{adapter: manifest, root: '{cohort}', split: {SPLIT}}}\n"
    # Keys of shared noise are new in each process, so that it cancels to the last unit of a sum and not of a model.
    settings = ["federation.rounds=2", "privacy.noise=own"]
    loopback.make_bundle(run, *settings)
    loopback.approve()
    with loopback.running():
        said = loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file, "--json")
    deployed = json.loads(said)

    config = load_config(settings, file=loopback.run_file)
    simulated = simulate(config, short_folder / "simulated", watcher=quiet_watcher, randomness=noise_of)
    (run,) = all_runs(loopback.centre)
    seen, said = (
        [record["validation"] for record in map(json.loads, (folder / ROUNDS_FILE).read_text().splitlines())]
        for folder in (run.path, short_folder / "simulated")
    )
    assert seen == said
    assert all(one is not None for one in seen)
    other = simulate(
        config,
        short_folder / "other",
        watcher=quiet_watcher,
        randomness=lambda site, number: noise_of(site, number + 1),
    )
    assert deployed["config_digest"] == simulated["config_digest"]
    assert deployed["model_digest"] == simulated["model_digest"]
    assert deployed["model_digest"] != other["model_digest"], "the noise makes no difference: the test sees nothing"
