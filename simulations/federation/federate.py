"""One federation over a consortium, whatever calls its sites."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from flwr.serverapp import ServerApp

from common.device import CPU
from common.encoders.dual import trainable_names
from common.encoders.public_parts import part_public
from common.errors import BudgetExhausted, CheckFailed, ConfigError
from common.privacy.plan import pair_law, privacy_plan
from server.app import build_server_app
from server.checkpoint import RunState
from server.public_watch import PublicValidation
from server.recorder import NoRecorder as NoServerRecorder
from server.setup import Observer, Setup
from simulations.attacks.registry import ATTACKS
from simulations.federation.handlers import handlers_of
from simulations.federation.members import Members, build_sites
from simulations.runtime import run_in_process


@dataclass(frozen=True)
class Engine:
    """What calls the sites: this process, or Flower's own simulation.

    Attributes:
        name: Its name in the summary.
        run: Runs a ServerApp against the members of an experiment.
    """

    name: str
    run: Callable[[ServerApp, Experiment], None]


def _run_here(app: ServerApp, experiment: Experiment) -> None:
    sites = build_sites(experiment)
    try:
        run_in_process(app, handlers_of(experiment, sites), num_workers=experiment.config.workers)
    finally:
        for site in sites:
            if site.accounts is not None:
                site.accounts.ledger.close()


IN_PROCESS = Engine("inprocess", _run_here)


@dataclass(frozen=True, kw_only=True)
class Experiment(Members):
    """One federation over a consortium.

    Attributes:
        state: State to start or to go on from.
        observer: Who watches.
        engine: What calls the sites.
    """

    state: RunState
    observer: Observer
    engine: Engine = IN_PROCESS


def federate(experiment: Experiment) -> CheckFailed | BudgetExhausted | None:
    """Run a federation; its result is in `experiment.state`.

    Returns:
        Why the run failed although it ended, and can be reported; None where it succeeded.

    Raises:
        ConfigError: The loss couples records and the run is private, there are fewer sites than attackers, or the
            attackers would have to see sites, or sites to keep keys, in several processes.
    """
    _check_engine(experiment)
    setup = Setup(
        config=experiment.config,
        trained=trainable_names(experiment.model),
        privacy=partial(privacy_plan, experiment.config),
        folder=experiment.folder,
        state=experiment.state,
        observer=experiment.observer,
        recorder=NoServerRecorder(),
        validation=_validation(experiment),
    )
    try:
        experiment.engine.run(build_server_app(setup), experiment)
    except (CheckFailed, BudgetExhausted) as error:
        return error
    return None


def _validation(experiment: Experiment) -> PublicValidation | None:
    """What the server of a deployment finds in the bundle."""
    studies = part_public(experiment.consortium.public(), experiment.config).validation
    if studies is None:
        return None
    # A copy: sites may be lent the experiment's model while the server measures.
    model = copy.deepcopy(experiment.model).to(CPU)
    return PublicValidation(model, studies.to(CPU))


def _check_engine(experiment: Experiment) -> None:
    name = experiment.config.attack.name
    if ATTACKS.load(name).craft is not None and experiment.engine is not IN_PROCESS:
        raise ConfigError(
            f"attack.name={name}: sees the honest updates, which the {experiment.engine.name} engine keeps in other "
            "processes; use --engine inprocess"
        )
    if pair_law(experiment.config) is not None and experiment.engine is not IN_PROCESS:
        raise ConfigError(
            f"privacy.noise=shared: a site's key is in the memory of one process, and the {experiment.engine.name} "
            "engine answers for it in several; use --engine inprocess"
        )
