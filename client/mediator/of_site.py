"""The mediator that a hospital has set."""

from __future__ import annotations

from datetime import date
from typing import cast

from client.mediator.interface import PROPOSERS, Modelled
from client.mediator.mediator import Mediator
from client.policy.site_schema import MediatorLimits


def model_of(settings: MediatorLimits, *, today: date | None = None) -> Modelled | None:
    """The language model that a hospital has named; None where it has none.

    Raises:
        ConfigError: It cannot be had: no such folder, or an address that may not be spoken to.
    """
    name = "language_model" if settings.endpoint else "local_model" if settings.folder else None
    return None if name is None else cast("Modelled", PROPOSERS.load(name)(settings, today))


def mediator_of(settings: MediatorLimits) -> Mediator:
    """The mediator of a hospital's settings.

    Raises:
        ConfigError: Its language model cannot be had.
    """
    return Mediator(model_of(settings))
