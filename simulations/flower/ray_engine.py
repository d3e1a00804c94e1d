"""`--engine ray`: the same ServerApp and sites on Flower's own simulation, for more machines than one (extra `[ray]`).

Ray's actors are processes of their own. They find the run by an environment variable that names its folder, and
prepare the consortium once each, from what the folder holds: `config.yaml` and the fitted public model.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from common.config.schema import RunConfig
from common.errors import ConfigError
from simulations.federation.federate import Engine, Experiment
from simulations.flower.flower_app import RUN_FOLDER_VARIABLE, client_app
from simulations.scenarios.simulate import Watcher, simulate

LONGEST_START_SECONDS = 60.0


def simulate_with_ray(config: RunConfig, folder: Path, *, watcher: Watcher) -> dict[str, Any]:
    """As `simulate`, with the sites in Ray actors, `config.workers` of them.

    Raises:
        ConfigError: Ray is not installed, or the run compares baselines.
    """
    check_ray_is_installed()
    if config.baselines.repeats or config.baselines.splits:
        raise ConfigError("--engine ray: runs one federation, not the baselines; leave the option out")
    return simulate(config, folder, watcher=watcher, engine=Engine("ray", _run_on_actors))


def check_ray_is_installed() -> None:
    """Fail before Flower would end the process.

    Raises:
        ConfigError: It is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--engine ray: Ray is not installed; pip install 'wardround[ray]'")


def run_on_ray(app: ServerApp, sites: ClientApp, *, num_sites: int, num_workers: int, device: str = "cpu") -> None:
    """Run a ServerApp against sites in Ray actors of this machine.

    Args:
        app: The server.
        sites: Answers every site's messages; it is sent to the actors, so it must hold little.
        num_sites: Nodes, with `partition-id` from 0.
        num_workers: Actors, each with one core.
        device: Where the sites compute; the actors share a GPU evenly.
    """
    # Flower logs every actor's life and Ray warns of its own next release; what a site did is in the run's records.
    logging.getLogger("flwr").setLevel(logging.ERROR)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    num_gpus = 1.0 / num_workers if device.startswith("cuda") else 0.0
    run_simulation(
        _after_all_nodes(app, num_sites),
        sites,
        num_sites,
        backend_config={
            "init_args": {"num_cpus": num_workers, "log_to_driver": False},
            "client_resources": {"num_cpus": 1, "num_gpus": num_gpus},
        },
    )


def _after_all_nodes(app: ServerApp, num_nodes: int) -> ServerApp:
    """The same server, once Flower has registered the nodes: it starts both at the same time."""
    patient = ServerApp()

    @patient.main()
    def main(grid: Grid, context: Context) -> None:
        deadline = time.monotonic() + LONGEST_START_SECONDS
        while len(list(grid.get_node_ids())) < num_nodes and time.monotonic() < deadline:
            time.sleep(0.05)
        app(grid, context)

    return patient


def _run_on_actors(app: ServerApp, experiment: Experiment) -> None:
    if experiment.randomness is not None:
        raise ConfigError("--engine ray: a test's randomness does not reach the actors")
    config = experiment.config
    os.environ[RUN_FOLDER_VARIABLE] = str(experiment.folder.absolute())
    try:
        run_on_ray(
            app,
            client_app,
            num_sites=len(experiment.cut),
            num_workers=config.workers,
            device=config.device,
        )
    finally:
        del os.environ[RUN_FOLDER_VARIABLE]
