"""`wardround server demo`: a whole deployment on one machine, from the first key to the verified report."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from common.console import Terminal
from common.errors import CheckFailed, ConfigError
from server.deploy.runs import all_runs
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort
from simulations.deployment.loopback import MANIFEST, Loopback, sites_of

RUN = """\
privacy:
  epsilon: 8.0
  delta: 1.0e-5
  noise: shared
aggregator:
  name: caf
evaluation:
  epsilon: 2.0
fairness:
  epsilon: 2.0
  attributes: [sex, age_band]
  intersections: []
  scores: []
federation:
  deadline_seconds: 90.0
public_fit:
  steps: 80
"""
"""What differs from the base configuration: figures that a hospital may let out, few enough for small hospitals."""

WORDS = "Left pleural effusion."


def demo_command(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the run.")] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="A new folder; runs/demo- and the time when left out.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Studies to use: a manifest with a column site, public for the public ones."),
    ] = None,
    num_sites: Annotated[int, typer.Option("--sites", min=3, max=16, help="Hospitals, of synthetic studies.")] = 3,
    patients: Annotated[int, typer.Option(min=50, help="Patients of each hospital, of synthetic studies.")] = 120,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 3,
) -> None:
    """Bring up a server and hospitals as separate processes on this machine, train, report, search, verify, shut down.

    Every step is a command that a coordinating centre or a hospital would type; the folder keeps all that they made.
    """
    folder = (out or Path("runs") / datetime.now(UTC).strftime("demo-%Y%m%d-%H%M%S")).absolute()
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--out {folder}: holds files already; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    console = Terminal(stderr=True)
    with _cohort(folder, data, num_sites=num_sites, patients=patients, console=console) as cohort:
        loopback = Loopback(folder, sites_of(cohort))
        _say(console, f"Making keys and certificates of {len(loopback.sites)} hospitals, joining")
        loopback.provision(cohort)
    _say(console, "Fitting the first model to the public studies, making the bundle")
    loopback.make_bundle(RUN, f"federation.rounds={rounds}", *(overrides or []))
    _say(console, "Approving it at each hospital")
    loopback.approve()
    _say(console, "Starting the server and the hospitals")
    with loopback.running():
        loopback.run()
        (run,) = all_runs(loopback.centre)
        _say(console, "Taking the model, indexing the studies of each hospital, opening the run for searching")
        loopback.open_search(run)
        _search(loopback, console)
        loopback.close_search(run)
    _say(console, "Verifying")
    loopback.shown("audit", "run", loopback.evidence_of(run.path))
    _say(console, f"All of it lies in {folder}")
    if run.outcome is not None and run.outcome.reason is not None:
        raise CheckFailed(run.outcome.reason)


def _search(loopback: Loopback, console: Console) -> None:
    """Search by words and by a picture, from the first hospital, and again without the last one."""
    first, *_, last = loopback.sites
    picture = next((loopback.folder / first / "studies").rglob("*.png"))
    _say(console, f"Searching at {first} by words: {WORDS}")
    _tell(console, loopback.search(first, "--text", WORDS))
    _say(console, f"Searching at {first} by a picture of its own")
    _tell(console, loopback.search(first, "--image", picture))
    _say(console, f"Stopping {last}, and searching again")
    loopback.stop([last])
    _tell(console, loopback.search(first, "--text", WORDS))


def _tell(console: Console, found: Mapping[str, Any]) -> None:
    nearest = min(found["hits"], key=lambda hit: int(hit["distance"]))
    whole = f"partial, without {', '.join(one['site'] for one in found['silent'])}" if found["partial"] else "complete"
    _say(
        console,
        f"  {len(found['hits'])} studies of {', '.join(found['sites_answered'])} ({whole}); the nearest at "
        f"{nearest['site']}, {nearest['distance']} bits apart",
    )


@contextmanager
def _cohort(folder: Path, data: Path | None, *, num_sites: int, patients: int, console: Console) -> Iterator[Path]:
    """The studies that are handed out: those that were named, or drawn ones, which are kept at the hospitals alone.

    Raises:
        ConfigError: The folder that was named has no manifest.
    """
    if data is not None:
        if not (data / MANIFEST).is_file():
            raise ConfigError(f"--data {data}: holds no {MANIFEST}; name a folder of that layout")
        yield data.absolute()
        return
    plan = CohortPlan(
        num_sites=num_sites,
        patients_per_site=patients,
        public_patients=200,
        image_size=64,
        site_shift=0.5,
        confounder=False,
        seed=0,
    )
    _say(console, "Drawing the patients")
    cohort = write_cohort(plan, folder / "cohort")
    yield cohort
    shutil.rmtree(cohort)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
