"""One of the many federations that a comparison trains: from the prepared start to what its model finds."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from common.errors import BudgetExhausted, CheckFailed
from common.wire.update import load_into
from server.checkpoint import RunState
from server.setup import Observer
from simulations.federation.federate import Experiment, federate
from simulations.federation.members import Cut
from simulations.scenarios.simulate import open_folder, pooled_of
from simulations.studies.consortium import Consortium


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A federation that ended.

    Attributes:
        config: Its configuration.
        state: The server's last state.
        model: The final model.
        pooled: What it finds in one gallery of all sites, as `pooled_metrics` gives it.
        problem: Why it failed; then the model is that of its last committed round.
    """

    config: RunConfig
    state: RunState
    model: DualEncoder
    pooled: dict[str, Any]
    problem: CheckFailed | BudgetExhausted | None


def train(
    config: RunConfig, consortium: Consortium, start: DualEncoder, *, cut: Cut, folder: Path, observer: Observer
) -> Trained:
    """Run one federation and measure its model; a folder that holds its checkpoint is gone on with.

    Args:
        config: The federation's own configuration.
        consortium: The studies.
        start: The model before round one; it stays as it is.
        cut: Who holds the studies.
        folder: For the checkpoint and the ledgers.
        observer: Who watches.

    Raises:
        WardroundError: The config or the checkpoint cannot be used.
    """
    model = copy.deepcopy(start)
    experiment = Experiment(
        config=config,
        consortium=consortium,
        cut=cut,
        model=model,
        folder=folder,
        state=open_folder(config, folder, model),
        observer=observer,
    )
    problem = federate(experiment) if config.federation.rounds else None
    load_into(model, experiment.state.arrays["model"])
    pooled = pooled_of(model, consortium, config)
    return Trained(config=config, state=experiment.state, model=model, pooled=pooled, problem=problem)
