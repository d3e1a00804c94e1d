"""A site as a Flower ClientApp: it says who it is, trains and measures in one message, and sends through its gate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod

from client.gate.gate import Gate, Guard
from client.measurement.evaluate import brief_statistics, full_statistics, is_measurable
from client.measurement.noised_statistics import noised_statistics
from client.site import Site
from client.training.train import train
from common.errors import LedgerError, PolicyRefusal
from common.privacy.events import Event
from common.privacy.held_out import FIGURES, noise_of
from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    MODEL,
    SITE,
    STATISTICS,
    UPDATE,
    Reply,
    Task,
    arrays_from_record,
    hello_reply_to_records,
    reply_to_records,
    task_from_records,
)
from common.wire.update import NamedArrays, check_arrays

SiteSource = Callable[[Context], AbstractContextManager[Site]]
"""Lends the site that a message is for; a simulation lends many sites one model, one after another."""


def build_client_app(lend_site: SiteSource, *, guard_of: Callable[[Context], Guard]) -> ClientApp:
    """A ClientApp whose every function stands behind the gate.

    Args:
        lend_site: Finds the site of a message.
        guard_of: Finds what the site's gate asks.
    """
    app = ClientApp()
    mods: list[Mod] = [Gate(guard_of, logging.getLogger("wardround.site"))]

    @app.query(mods=mods)
    def hello(message: Message, context: Context) -> Message:
        with lend_site(context) as site:
            return Message(hello_reply_to_records(site.name, site.patients_band), reply_to=message)

    @app.train(mods=mods)
    def train_and_measure(message: Message, context: Context) -> Message:
        task = task_from_records(message.content)
        arrays = arrays_from_record(message.content.array_records[MODEL])
        with lend_site(context) as site:
            return Message(reply_to_records(answer(site, task, arrays)), reply_to=message)

    @app.evaluate(mods=mods)
    def refuse(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
        raise PolicyRefusal("a site measures with each task; it answers no message of the kind evaluate")

    return app


def answer(site: Site, task: Task, arrays: NamedArrays) -> Reply:
    """Measure the global model on the held-out patients and, where asked, train from it.

    Raises:
        AdmissionError: The arrays are not those of the site's model; nothing was charged.
        BudgetExhausted: The site's ledger does not cover the answer; nothing was drawn.
        LedgerError: The ledger cannot be charged; nothing was drawn.
    """
    # Before the ledger is charged for anything that would be made with them.
    check_arrays(site.model, arrays)
    releases = [Release(name=SITE, mechanism=Mechanism.PUBLIC)]
    statistics, update = None, None
    if (measured := _measured(site, task, arrays)) is not None:
        statistics, release = measured
        releases.append(release)
    if task.train:
        update, release = _trained(site, task, arrays)
        releases.append(release)
    return Reply(
        site=site.name,
        round_number=task.round_number,
        run=task.config_digest,
        update=update,
        statistics=statistics,
        releases=tuple(releases),
        ledger_head=site.accounts.ledger.head().digest if site.accounts else None,
    )


def _measured(site: Site, task: Task, arrays: NamedArrays) -> tuple[dict[str, Any], Release] | None:
    """What is told of the held-out patients, and how it was made; None where that is nothing."""
    noise = noise_of(site.config)
    if noise is None and not is_measurable(site):
        return None
    if noise is None:
        in_between = task.train and task.round_number > 1
        exact = brief_statistics(site, arrays) if in_between else full_statistics(site, arrays)
        return exact, Release(name=STATISTICS, mechanism=Mechanism.NOT_PRIVATE)
    if task.train:
        return None
    event = noise.event(FIGURES)
    entry = _reserve(site, task, STATISTICS, event)
    noised = noised_statistics(site, arrays, noise)
    if noised is None:
        return None
    return noised, Release(name=STATISTICS, mechanism=Mechanism.DISCRETE_LAPLACE, event=event, ledger_entry=entry)


def _trained(site: Site, task: Task, arrays: NamedArrays) -> tuple[NamedArrays, Release]:
    """The update, and how it was made; under privacy its event is charged before any noise is drawn."""
    if site.privacy is None:
        open_update = train(site, arrays, round_number=task.round_number)
        return open_update, Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE)
    event = site.privacy.event
    entry = _reserve(site, task, UPDATE, event)
    update = train(site, arrays, round_number=task.round_number)
    return update, Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=event, ledger_entry=entry)


def _reserve(site: Site, task: Task, release: str, event: Event) -> str:
    """Charge the patients that a release speaks of.

    Returns:
        Digest of the ledger's entry.
    """
    if site.accounts is None:
        raise LedgerError(f"{site.name}: has no ledger that could pay for {release!r}; nothing was drawn")
    account = site.accounts.training if release == UPDATE else site.accounts.held_out
    return site.accounts.ledger.reserve(
        account, run=site.config_digest, round_number=task.round_number, release=release, event=event
    ).entry
