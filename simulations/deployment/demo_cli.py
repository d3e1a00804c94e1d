"""`wardround server demo`: a whole deployment on one machine, from the first key to the verified report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from client.data.anchor_options import Layout, SplitColumn
from client.data.rows import DEFAULT_SITE_COLUMN
from common.console import Terminal
from common.errors import CheckFailed, ConfigError, DataError
from server.deploy.runs import all_runs
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort
from simulations.deployment.folders import COHORT_FOLDER, studies_of
from simulations.deployment.hand_out import Source, shares_of
from simulations.deployment.loopback import Loopback

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
FEWEST_SITES, MOST_SITES = 3, 16


def demo_command(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the run.")] = None,
    *,
    out: Annotated[Path | None, typer.Option(help="A new folder; runs/demo- and the time when left out.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Studies of three hospitals or more, and public ones, to use."),
    ] = None,
    adapter: Layout = "manifest",
    split: SplitColumn = "",
    site_column: Annotated[
        str,
        typer.Option(metavar="NAME", help='Column that names the hospital; without a split "public" is no hospital.'),
    ] = DEFAULT_SITE_COLUMN,
    num_sites: Annotated[
        int, typer.Option("--sites", min=FEWEST_SITES, max=MOST_SITES, help="Hospitals, of synthetic studies.")
    ] = 3,
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
    if data is None:
        _say(console, "Drawing the patients")
        source = Source(root=_drawn(folder, num_sites=num_sites, patients=patients))
    else:
        source = Source(root=data.absolute(), adapter=adapter, split=split, site_column=site_column)
    loopback = Loopback(folder, _handed_out(source, folder, console))
    if data is None:
        shutil.rmtree(source.root)
    _say(console, f"Making keys and certificates of {len(loopback.sites)} hospitals, joining")
    loopback.provision()
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
    picture = next(studies_of(loopback.folder, first).rglob("*.png"), None)
    _say(console, f"Searching at {first} by words: {WORDS}")
    _tell(console, loopback.search(first, "--text", WORDS))
    if picture is not None:
        _say(console, f"Searching at {first} by a picture of its own")
        _tell(console, loopback.search(first, "--image", picture))
    _say(console, f"Stopping {last}, and searching again")
    loopback.stop([last])
    _tell(console, loopback.search(first, "--text", WORDS))


def _tell(console: Console, found: Mapping[str, Any]) -> None:
    whole = f"partial, without {', '.join(one['site'] for one in found['silent'])}" if found["partial"] else "complete"
    said = f"  {len(found['hits'])} studies of {', '.join(found['sites_answered'])} ({whole})"
    if found["hits"]:
        nearest = min(found["hits"], key=lambda hit: int(hit["distance"]))
        said += f"; the nearest at {nearest['site']}, {nearest['distance']} bits apart"
    _say(console, said)


def _drawn(folder: Path, *, num_sites: int, patients: int) -> Path:
    """A synthetic cohort, to be handed out and kept at the hospitals alone."""
    plan = CohortPlan(
        num_sites=num_sites,
        patients_per_site=patients,
        public_patients=200,
        image_size=64,
        site_shift=0.5,
        confounder=False,
        seed=0,
    )
    return write_cohort(plan, folder / COHORT_FOLDER)


def _handed_out(source: Source, folder: Path, console: Console) -> tuple[str, ...]:
    """Give the hospitals their studies; their names.

    Raises:
        DataError: The folder cannot be read, or names too few or too many hospitals.
    """
    shares = shares_of(source)
    if not FEWEST_SITES <= len(shares.sites) <= MOST_SITES:
        raise DataError(
            f"--data {source.root}: column {source.site_column} names {len(shares.sites)} hospitals; "
            f"it takes {FEWEST_SITES} to {MOST_SITES}, --site-column names another"
        )
    _say(console, f"Handing the studies out to {', '.join(shares.sites)}")
    bad_rows = shares.hand_out(folder)
    if bad_rows:
        first = bad_rows[0]
        told = f"{len(bad_rows)} of them cannot be read and go to nobody, first {first.file} row {first.row}"
        _say(console, f"{told}: {first.reason}")
    return shares.sites


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False, highlight=False)
