"""A site as a Flower ClientApp: it says who it is, trains and measures in one message, and sends through its gate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod

from client.dp.round_noise import Pairing, RoundNoise
from client.gate.gate import Gate, Guard
from client.measurement.draw_counts import drawn
from client.measurement.evaluate import brief_statistics, full_statistics, is_measurable
from client.measurement.group_counts import group_counts
from client.measurement.noised_statistics import found_by, noised_statistics
from client.measurement.scores import scored_by
from client.site import Site
from client.training.train import train
from common.canonical import digest
from common.errors import LedgerError, PolicyRefusal
from common.fairness.table import table_of
from common.ledger.entries import SharedNoise
from common.privacy.count_noise import CountNoise, GaussianCountNoise
from common.privacy.events import Event
from common.privacy.held_out import group_noise_of, noise_of
from common.privacy.release import Mechanism, Release
from common.wire.evidence import context_of
from common.wire.flower import (
    GROUPS,
    MODEL,
    SITE,
    STATISTICS,
    UPDATE,
    Hello,
    Reply,
    Task,
    hello_reply_to_records,
    reply_to_records,
    task_from_records,
)
from common.wire.flower_arrays import arrays_from_record
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
            return Message(hello_reply_to_records(introduction(site)), reply_to=message)

    @app.train(mods=mods)
    def train_and_measure(message: Message, context: Context) -> Message:
        task = task_from_records(message.content)
        arrays = arrays_from_record(message.content.array_records[MODEL])
        with lend_site(context) as site:
            return Message(
                reply_to_records(answer(site, task, arrays, context=context_of(message.content))), reply_to=message
            )

    @app.evaluate(mods=mods)
    def refuse(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
        raise PolicyRefusal("a site measures with each task; it answers no message of the kind evaluate")

    return app


def introduction(site: Site) -> Hello:
    """Who a site says that it is."""
    pair_key = site.pairing.key.statement if site.pairing is not None else None
    return Hello(site=site.name, patients_band=site.patients_band, pair_key=pair_key)


def answer(site: Site, task: Task, arrays: NamedArrays, *, context: str) -> Reply:
    """Measure the global model on the held-out patients and, where asked, train from it.

    Args:
        site: Who answers.
        task: What is asked.
        arrays: The global model.
        context: Digest of what opened the round, in hexadecimal.

    Raises:
        AdmissionError: The arrays are not those of the site's model; nothing was charged.
        BudgetExhausted: The site's ledger does not cover the answer; nothing was drawn.
        LedgerError: The ledger cannot be charged; nothing was drawn.
        CohortSmall, ContextReused, PairKeyError: Noise is not shared with these sites, or not again; nothing was drawn.
    """
    # Before the ledger is charged for anything that would be made with them.
    check_arrays(site.model, arrays)
    releases = [Release(name=SITE, mechanism=Mechanism.PUBLIC)]
    statistics, groups, update = None, None, None
    if (noise := noise_of(site.config)) is None:
        statistics = _exact_statistics(site, task, arrays)
        if statistics is not None:
            releases.append(Release(name=STATISTICS, mechanism=Mechanism.NOT_PRIVATE))
    elif not task.train:
        statistics, groups, told = _noised(site, noise, task, arrays, context)
        releases += told
    if task.train:
        update, release = _trained(site, task, arrays, context)
        releases.append(release)
    return Reply(
        site=site.name,
        round_number=task.round_number,
        run=task.config_digest,
        update=update,
        statistics=statistics,
        groups=groups,
        releases=tuple(releases),
        ledger_head=site.accounts.ledger.head().digest if site.accounts else None,
    )


def _exact_statistics(site: Site, task: Task, arrays: NamedArrays) -> dict[str, Any] | None:
    """Exact figures of the held-out patients; None where there are too few of them."""
    if not is_measurable(site):
        return None
    in_between = task.train and task.round_number > 1
    return brief_statistics(site, arrays) if in_between else full_statistics(site, arrays)


def _noised(
    site: Site, noise: CountNoise, task: Task, arrays: NamedArrays, context: str
) -> tuple[dict[str, Any], tuple[float, ...] | None, list[Release]]:
    """What is told of the held-out patients with noise, of all of them and by group, and how it was made.

    Both are charged before any noise is drawn.
    """
    release, shared = _charged(site, task, STATISTICS, noise, context=context)
    releases, group_noise, groups_shared = [release], group_noise_of(site.config), None
    if group_noise is not None:
        release, groups_shared = _charged(site, task, GROUPS, group_noise, context=digest([context, GROUPS]))
        releases.append(release)
    start, final = found_by(site, site.start), found_by(site, arrays)
    statistics = noised_statistics(site, start, final, noise, round_number=task.round_number, round_noise=shared)
    if group_noise is None:
        return statistics, None, releases
    form = table_of(site.config.fairness)
    scores = scored_by(site, arrays) if form.scored else None
    exact = group_counts(form, start, final, scores, records=site.held_out.records)
    told = drawn(site, exact, group_noise, round_number=task.round_number, round_noise=groups_shared)
    return statistics, tuple(told.tolist()), releases


def _charged(
    site: Site, task: Task, name: str, noise: CountNoise, *, context: str
) -> tuple[Release, RoundNoise | None]:
    """The release of noised counts, and what others share of its noise; it is charged, and nothing drawn yet.

    Args:
        site: Whose counts.
        task: What was asked.
        name: Of the record.
        noise: Of what law.
        context: Of the shared part: another one for each release of a round, or its noise would be drawn twice.
    """
    round_noise, shared = None, None
    if isinstance(noise, GaussianCountNoise) and noise.is_shared and site.pairing is not None:
        round_noise, shared = _share(site.pairing, task, context, own_multiplier=noise.own_multiplier)
    entry = _reserve(site, task, name, noise.event, shared)
    return Release(name=name, mechanism=noise.mechanism, event=noise.event, ledger_entry=entry), round_noise


def _trained(site: Site, task: Task, arrays: NamedArrays, context: str) -> tuple[NamedArrays, Release]:
    """The update, and how it was made; under privacy its event is charged before any noise is drawn."""
    if site.privacy is None:
        open_update = train(site, arrays, round_number=task.round_number)
        return open_update, Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE)
    event = site.privacy.event
    round_noise, shared = None, None
    if site.pairing is not None:
        round_noise, shared = _share(site.pairing, task, context, own_multiplier=site.privacy.own_multiplier)
    entry = _reserve(site, task, UPDATE, event, shared)
    update = train(site, arrays, round_number=task.round_number, round_noise=round_noise)
    return update, Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=event, ledger_entry=entry)


def _share(pairing: Pairing, task: Task, context: str, *, own_multiplier: float) -> tuple[RoundNoise, SharedNoise]:
    """A round's noise, and what the ledger is told of it.

    With whom it is shared is checked before the ledger is charged, and none of it is drawn before it was.
    """
    noise = pairing.open_round(task.pair_keys, context=context)
    return noise, SharedNoise(
        own_multiplier=own_multiplier,
        factor=noise.law.factor,
        peers=len(noise.pairs),
        absent=noise.absent,
        colluding=noise.law.colluding,
        cohort=pairing.digest,
        context=noise.context,
    )


def _reserve(site: Site, task: Task, release: str, event: Event, shared: SharedNoise | None = None) -> str:
    """Charge the patients that a release speaks of.

    Returns:
        Digest of the ledger's entry.
    """
    if site.accounts is None:
        raise LedgerError(f"{site.name}: has no ledger that could pay for {release!r}; nothing was drawn")
    account = site.accounts.training if release == UPDATE else site.accounts.held_out
    return site.accounts.ledger.reserve(
        account, run=site.config_digest, round_number=task.round_number, release=release, event=event, shared=shared
    ).entry
