"""From a consortium's studies to the sites' Flower handlers, and one federation over them, whatever calls them."""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import ServerApp

from client.app import build_client_app
from client.dp.randomness import Randomness, SeededRandomness, SystemRandomness
from client.dp.round_noise import Pairing
from client.gate.gate import Guard
from client.gate.recorder import NoRecorder as NoSiteRecorder
from client.policy.simulated import simulation_policy
from client.site import Site, SiteAccounts
from client.studies import by_group
from client.training.train import views_of
from common.config.load import config_digest
from common.config.schema import RunConfig
from common.device import CPU
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_parts import part_public
from common.errors import BudgetExhausted, CheckFailed, ConfigError
from common.losses.objective import build_objective
from common.pair_noise.keys import PairKey
from common.privacy.bands import SMALL, band_of, delta_for
from common.privacy.plan import SHARED, pair_law, privacy_plan, with_cohort
from common.seeds import torch_generator
from common.trust.keys import SigningKey
from common.wire.update import model_arrays
from server.app import build_server_app
from server.checkpoint import RunState
from server.federation import Observer, Setup
from server.public_watch import PublicValidation
from server.recorder import NoRecorder as NoServerRecorder
from simulations.attacks.interface import Scene
from simulations.attacks.omniscience import with_omniscient
from simulations.attacks.registry import ATTACKS
from simulations.federation.ledgers import open_accounts
from simulations.runtime import Handler, run_in_process
from simulations.studies.consortium import Consortium
from strategies.composition import build_aggregator, check_cancels, check_least_sites
from strategies.optimizers.interface import build_optimizer

RandomnessOf = Callable[[str, int], Randomness]
"""Source of sampling and noise for a site and a round."""

Cut = Mapping[str, Sequence[str]]
"""Name of each federation member to the sites whose studies it holds."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """The sites of a federation.

    Attributes:
        config: The run's configuration.
        consortium: The studies.
        cut: Who holds them; each site its own, or one member all.
        model: The model before round one; sites work on copies.
        folder: Run folder, for the sites' ledgers and the server's checkpoint.
        randomness: Source of private sampling and noise; None is the operating system's.
    """

    config: RunConfig
    consortium: Consortium
    cut: Cut
    model: DualEncoder
    folder: Path
    randomness: RandomnessOf | None = None


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
        run_in_process(app, _handlers(experiment, sites), num_workers=experiment.config.workers)
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


def check_names(config: RunConfig) -> None:
    """Refuse what cannot run before a study is read or a file written.

    Raises:
        ConfigError: A name is unknown, no noise reaches the epsilon, or the loss couples records under privacy.
    """
    if ATTACKS.load(config.attack.name).poison is not None and config.mitigation.adversary_weight:
        raise ConfigError(
            f"attack.name={config.attack.name}: poisoned studies have no groups for an adversary to tell; set "
            "mitigation.adversary_weight=0"
        )
    build_aggregator(config.aggregator, seed=config.seed)
    if config.privacy.noise == SHARED and config.privacy.epsilon is not None:
        check_cancels(config.aggregator)
    build_optimizer(config.server_optimizer)
    build_objective(config.loss, config.code)
    privacy_plan(config, SMALL)


def check_attackers(config: RunConfig, num_sites: int) -> None:
    """Refuse more attackers than there are sites.

    Raises:
        ConfigError: There are.
    """
    if config.attack.num_sites > num_sites:
        raise ConfigError(f"attack.num_sites={config.attack.num_sites}: there are {num_sites} sites")


def check_cohort(config: RunConfig, num_sites: int) -> None:
    """Refuse a cohort that its rule, or its attackers, are too many for, before it trains.

    Raises:
        ConfigError: There are fewer sites than the rule needs, or than attackers.
    """
    check_attackers(config, num_sites)
    check_least_sites(config.aggregator, num_sites)


def in_cohort(config: RunConfig, consortium: Consortium, cut: Cut) -> RunConfig:
    """The config, with the members of a federation and their bands where they share noise."""
    return with_cohort(config, {name: band_of(consortium.private(held).num_patients) for name, held in cut.items()})


def each_its_own(consortium: Consortium) -> Cut:
    """The cut of a real federation: every site holds its own studies."""
    return {site: [site] for site in consortium.sites}


def site_handlers(members: Members) -> list[Handler]:
    """What answers each site's messages, in the order of the sites' names, attackers last.

    Raises:
        ConfigError: The loss couples records and the run is private, or there are fewer sites than attackers.
    """
    return _handlers(members, build_sites(members))


def _handlers(members: Members, sites: Sequence[Site]) -> list[Handler]:
    guards = [_guard(site) for site in sites]
    client_app = build_client_app(
        _lender(sites, members.model), guard_of=lambda context: guards[int(context.node_config["partition-id"])]
    )
    return _with_attacks(members.config, client_app, [site.name for site in sites])


def build_sites(members: Members) -> list[Site]:
    """The members of a federation, in the order of their names; their model is a placeholder until one is lent."""
    config, consortium = members.config, members.consortium
    digest = config_digest(config)
    public = part_public(consortium.public(), config)
    anchors, public_pairs = public.anchors.to(config.device), public.unseen.to(config.device)
    start = model_arrays(members.model)
    poison, attackers = ATTACKS.load(config.attack.name).poison, _attackers(config, sorted(members.cut))
    sites = []
    for name, held in sorted(members.cut.items()):
        private = by_group(consortium.private(held), consortium.private_records(held), config)
        held_out = consortium.held_out(held)
        if poison is not None and name in attackers:
            private = poison(consortium, held, config)
        views_of(config).refuse_features(private.rows(slice(0)).images)
        band = band_of(private.num_patients)
        privacy = privacy_plan(config, band)
        sites.append(
            Site(
                name=name,
                config=config,
                config_digest=digest,
                model=members.model,
                start=start,
                private=private.to(config.device),
                held_out=held_out.to(config.device),
                anchors=anchors,
                public_pairs=public_pairs,
                privacy=privacy,
                accounts=_accounts(members, name, band),
                randomness=_randomness(members, name, private=privacy is not None),
            )
        )
    return _paired(sites)


def _paired(sites: Sequence[Site]) -> list[Site]:
    """The sites, each with what it needs to share noise with the others, where the run has them do so.

    Their signing keys are of this process alone, as the keys that they sign are: there is nobody to deceive.
    """
    law = pair_law(sites[0].config) if sites else None
    if law is None:
        return list(sites)
    signing = {site.name: SigningKey.fresh() for site in sites}
    cohort = {name: key.public for name, key in signing.items()}
    return [
        replace(
            site,
            pairing=Pairing(
                key=PairKey(site=site.name, run=site.config_digest, signing_key=signing[site.name]),
                law=law,
                cohort=cohort,
                least_peers=0,
            ),
        )
        for site in sites
    ]


def _accounts(members: Members, site: str, band: str) -> SiteAccounts | None:
    """A site's ledger; none where the run spends nothing."""
    config = members.config
    privacy = privacy_plan(config, band)
    if privacy is None and config.evaluation.epsilon is None:
        return None
    return open_accounts(
        members.folder,
        site,
        data=config.data.adapter,
        epsilon=config.policy.epsilon,
        delta=privacy.delta if privacy else delta_for(band),
    )


def _guard(site: Site) -> Guard:
    """A gate that lets a simulation's exact statistics pass, and keeps the ledger as a hospital's would."""
    return Guard(
        policy=simulation_policy(),
        run=site.request(bundle_hash=None),
        ledger=site.accounts.ledger if site.accounts else None,
        recorder=NoSiteRecorder(),
    )


def _randomness(members: Members, site: str, *, private: bool) -> Callable[[int], Randomness]:
    def of_round(round_number: int) -> Randomness:
        if not private:
            return SeededRandomness(torch_generator(members.config.seed, "batches", site, round_number))
        if members.randomness is not None:
            return members.randomness(site, round_number)
        return SystemRandomness()

    return of_round


def _lender(sites: Sequence[Site], template: DualEncoder) -> Callable[[Context], AbstractContextManager[Site]]:
    """Lends each message its site with a free copy of the model: as many copies as sites that work at once."""
    free: queue.SimpleQueue[DualEncoder] = queue.SimpleQueue()

    @contextmanager
    def lend(context: Context) -> Iterator[Site]:
        try:
            model = free.get_nowait()
        except queue.Empty:
            model = copy.deepcopy(template)
        try:
            yield replace(sites[int(context.node_config["partition-id"])], model=model)
        finally:
            free.put(model)

    return lend


def _attackers(config: RunConfig, sites: Sequence[str]) -> Sequence[str]:
    """The last sites.

    Raises:
        ConfigError: There are fewer sites than attackers.
    """
    check_attackers(config, len(sites))
    return sites[len(sites) - config.attack.num_sites :]


def _with_attacks(config: RunConfig, honest: Handler, sites: Sequence[str]) -> list[Handler]:
    attack = ATTACKS.load(config.attack.name)
    num_attackers = len(_attackers(config, sites))
    scene = Scene(config=config, num_sites=len(sites), num_attackers=num_attackers)
    if attack.craft is not None:
        return with_omniscient(honest, scene, attack.craft)
    attacker = honest if attack.wrap is None else attack.wrap(honest, scene)
    return [honest] * (len(sites) - num_attackers) + [attacker] * num_attackers
