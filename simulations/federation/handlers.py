"""What answers the messages of each site: its Flower app behind its gate, or an attacker."""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from flwr.app import Context

from client.app import build_client_app
from client.gate.gate import Guard
from client.gate.recorder import NoRecorder as NoSiteRecorder
from client.policy.simulated import simulation_policy
from client.site import Site
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder
from simulations.attacks.interface import Scene
from simulations.attacks.omniscience import with_omniscient
from simulations.attacks.registry import ATTACKS
from simulations.federation.members import Members, attackers_of, build_sites
from simulations.runtime import Handler


def site_handlers(members: Members) -> list[Handler]:
    """What answers each site's messages, in the order of the sites' names, attackers last.

    Raises:
        ConfigError: The loss couples records and the run is private, or there are fewer sites than attackers.
    """
    return handlers_of(members, build_sites(members))


def handlers_of(members: Members, sites: Sequence[Site]) -> list[Handler]:
    """The same, of sites that are built already."""
    guards = [_guard(site) for site in sites]
    client_app = build_client_app(
        _lender(sites, members.model), guard_of=lambda context: guards[int(context.node_config["partition-id"])]
    )
    return _with_attacks(members.config, client_app, [site.name for site in sites])


def _guard(site: Site) -> Guard:
    """A gate that lets a simulation's exact statistics pass, and keeps the ledger as a hospital's would."""
    return Guard(
        policy=simulation_policy(),
        run=site.request(bundle_hash=None),
        ledger=site.accounts.ledger if site.accounts else None,
        recorder=NoSiteRecorder(),
    )


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


def _with_attacks(config: RunConfig, honest: Handler, sites: Sequence[str]) -> list[Handler]:
    attack = ATTACKS.load(config.attack.name)
    num_attackers = len(attackers_of(config, sites))
    scene = Scene(config=config, num_sites=len(sites), num_attackers=num_attackers)
    if attack.craft is not None:
        return with_omniscient(honest, scene, attack.craft)
    attacker = honest if attack.wrap is None else attack.wrap(honest, scene)
    return [honest] * (len(sites) - num_attackers) + [attacker] * num_attackers
