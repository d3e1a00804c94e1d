"""`wardround server demo`: a whole deployment on one machine, from the first key to the verified report."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from common.errors import ConfigError
from server.deploy.runs import all_runs
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort
from simulations.deployment.loopback import Loopback

RUN = """\
privacy:
  epsilon: 8.0
  delta: 1.0e-5
evaluation:
  epsilon: 2.0
federation:
  deadline_seconds: 90.0
public_fit:
  steps: 80
"""
"""What differs from the base configuration: figures that a hospital may let out."""


def demo_command(
    *,
    out: Annotated[Path | None, typer.Option(help="A new folder; runs/demo- and the time when left out.")] = None,
    num_sites: Annotated[int, typer.Option("--sites", min=3, max=16, help="Hospitals.")] = 3,
    patients: Annotated[int, typer.Option(min=50, help="Patients of each hospital.")] = 120,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
) -> None:
    """Bring up a server and hospitals as separate processes on this machine, train, report, verify, shut down.

    Every step is a command that a coordinating centre or a hospital would type; the folder keeps all that they made.
    """
    folder = (out or Path("runs") / datetime.now(UTC).strftime("demo-%Y%m%d-%H%M%S")).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--out {folder}: holds files already; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    plan = CohortPlan(
        num_sites=num_sites,
        patients_per_site=patients,
        public_patients=200,
        image_size=64,
        site_shift=0.5,
        confounder=False,
        seed=0,
    )
    console = Console(stderr=True)
    loopback = Loopback(folder, plan.site_names)
    with console.status("Drawing the patients") as status:
        cohort = write_cohort(plan, folder / "cohort")
        status.update("Making keys and certificates, joining")
        loopback.provision(cohort)
        shutil.rmtree(cohort)
        status.update("Fitting the first model to the public studies, making the bundle")
        loopback.make_bundle(RUN, f"federation.rounds={rounds}")
        status.update("Approving it at each hospital")
        loopback.approve()
        status.update("Starting the server and the hospitals")
        with loopback.running():
            status.update("Training")
            console.print(
                loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file),
                end="",
                soft_wrap=True,
                highlight=False,
            )
        status.update("Verifying")
        evidence = loopback.evidence_of(all_runs(loopback.centre)[-1].path)
        console.print(loopback.command("audit", "run", evidence), end="", soft_wrap=True, highlight=False)
    console.print(f"All of it lies in {folder}", soft_wrap=True, highlight=False)
