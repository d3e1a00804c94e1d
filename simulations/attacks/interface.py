"""What an attack is: up to three places at which the attackers of a run leave the honest path.

Whatever they do, they say honestly who they are, but for an attack on just that, and their replies pass through no
gate: a hospital that attacks has removed its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from client.dp.records import Records
from common.config.schema import RunConfig
from simulations.attacks.crafted.interface import Craft
from simulations.runtime import Handler
from simulations.studies.consortium import Consortium
from simulations.studies.read import Trigger


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The run in which an attack takes place.

    Attributes:
        config: Its configuration.
        num_sites: Sites, attackers included.
        num_attackers: The last of them.
    """

    config: RunConfig
    num_sites: int
    num_attackers: int

    @property
    def boost(self) -> float:
        """What makes the attackers' part of an equal-weight mean as large as one site's whole update."""
        return self.num_sites / max(self.num_attackers, 1)


Poison: TypeAlias = Callable[[Consortium, Sequence[str], RunConfig], Records]
"""The training studies of an attacker who holds these sites' studies; of as many patients, so that its band is true."""

Wrap: TypeAlias = Callable[[Handler, Scene], Handler]
"""What answers in place of an attacker's ClientApp."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What the attackers of a run do; an attack uses one of these, or two together.

    Attributes:
        poison: What they train on in place of their studies.
        wrap: What answers in place of their ClientApp.
        craft: What they all send in place of their updates, once they have seen the honest ones of the round.
        trigger: What they paint on an image; where there is one, the consortium holds every image painted as well.
    """

    poison: Poison | None = None
    wrap: Wrap | None = None
    craft: Craft | None = None
    trigger: Trigger | None = None
