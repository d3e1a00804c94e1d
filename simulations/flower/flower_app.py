"""The apps that `flwr run . local` starts, for who knows Flower; `--run-config 'overrides="seed=1"'` sets config keys.

Flower starts the server and the sites in processes of their own and gives both the same run configuration and run
number; from these each finds the run folder, `runs/flower-NUMBER`. The same ClientApp serves `--engine ray`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

import torch
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from common.config.load import load_config, read_run_config
from common.errors import ConfigError
from server.checkpoint import RunState
from server.model.ended_run import CONFIG_FILE, PUBLIC_MODEL_FILE
from simulations.federation.federate import Engine, Experiment
from simulations.federation.handlers import site_handlers
from simulations.federation.members import Members, each_its_own
from simulations.runtime import Handler
from simulations.scenarios.simulate import Clock, prepare, simulate

OVERRIDES_KEY = "overrides"
RUN_FOLDER_VARIABLE = "WARDROUND_RUN_FOLDER"
SPARE_NODE = 1

_log = logging.getLogger("wardround")

server_app = ServerApp()
client_app = ClientApp()


class LogWatcher:
    """A `Watcher` that writes a line a round to Flower's log of the run."""

    def phase(self, name: str) -> None:
        """See `Watcher`."""
        _log.info("%s", name)

    def studies_read(self, num_studies: int) -> None:
        """See `Watcher`."""

    def widths_measured(self, number: int, of: int) -> None:
        """See `Watcher`."""

    def foretold(self, sentence: str) -> None:
        """See `Watcher`."""
        _log.info("%s", sentence)

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """See `Observer`."""

    def site_answered(self, site: str, problem: str | None) -> None:
        """See `Observer`."""
        if problem is not None:
            _log.warning("%s dropped: %s", site, problem)

    def round_committed(self, state: RunState) -> None:
        """See `Observer`."""
        if state.rounds:
            last = state.rounds[-1]
            _log.info("round %d: %d sites, %s", last["round"], len(last["admitted"]), last["outcome"])


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Simulate what the run configuration says, over the nodes that Flower has started."""
    _log.setLevel(logging.INFO)
    _log.addHandler(logging.StreamHandler())
    config = load_config(str(context.run_config.get(OVERRIDES_KEY, "")).split())
    folder = run_folder(context)

    def over_the_grid(app: ServerApp, experiment: Experiment) -> None:
        num_nodes, num_sites = len(list(grid.get_node_ids())), len(experiment.cut)
        if num_nodes < num_sites:
            raise ConfigError(
                f"Flower simulates {num_nodes} nodes for {num_sites} sites; "
                f"add --federation-config num-supernodes={num_sites} to flwr run"
            )
        app(grid, context)

    summary = simulate(config, folder, watcher=LogWatcher(), engine=Engine("ray", over_the_grid))
    _log.info("recall at 10 over all sites %.3f; report: %s", summary["pooled"]["recall_at_10"], folder / "report.html")


@client_app.query()
def hello(message: Message, context: Context) -> Message:
    """Answer as the site of this node."""
    return _answer(message, context)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Answer as the site of this node."""
    return _answer(message, context)


@client_app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Answer as the site of this node."""
    return _answer(message, context)


def run_folder(context: Context) -> Path:
    """The folder of the run that a message belongs to."""
    named = os.environ.get(RUN_FOLDER_VARIABLE)
    return Path(named) if named else Path("runs").absolute() / f"flower-{context.run_id}"


def _answer(message: Message, context: Context) -> Message:
    handlers = _handlers(run_folder(context))
    position = int(context.node_config["partition-id"])
    if position >= len(handlers):
        return Message(Error(SPARE_NODE, "spare"), reply_to=message)
    # A silent attacker returns None, and Flower's simulation then sends nothing, as it should.
    return cast("Message", handlers[position](message, context))


@lru_cache(maxsize=1)
def _handlers(folder: Path) -> Sequence[Handler]:
    """The sites of a run; each process prepares them once, from the folder that the server has filled before."""
    config = read_run_config(folder / CONFIG_FILE)
    consortium, model = prepare(config, Clock(LogWatcher()), kept=folder / PUBLIC_MODEL_FILE)
    torch.set_num_threads(1)  # as a site has in the in-process runtime
    return site_handlers(
        Members(config=config, consortium=consortium, cut=each_its_own(consortium), model=model, folder=folder)
    )
