"""A site as a Flower ClientApp: it says who it is, trains and measures in one message, and sends through its gate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod

from client.evaluate import brief_statistics, full_statistics
from client.gate import Gate
from client.site import Site
from client.train import train
from common.errors import PolicyRefusal
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
from common.wire.update import NamedArrays

SiteSource = Callable[[Context], AbstractContextManager[Site]]
"""Lends the site that a message is for; a simulation lends many sites one model, one after another."""


def build_client_app(lend_site: SiteSource, *, allowed: frozenset[Mechanism]) -> ClientApp:
    """A ClientApp whose every function stands behind the gate.

    Args:
        lend_site: Finds the site of a message.
        allowed: Mechanisms that the site's policy lets out.
    """
    app = ClientApp()
    mods: list[Mod] = [Gate(allowed, logging.getLogger("wardround.site"))]

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

    return app


def answer(site: Site, task: Task, arrays: NamedArrays) -> Reply:
    """Measure the global model on the held-out patients and, where asked, train from it.

    Raises:
        PolicyRefusal: The task belongs to a run with another configuration.
    """
    if task.config_digest != site.config_digest:
        raise PolicyRefusal("the task's config digest is not that of the run this site agreed to")
    releases = [
        Release(name=SITE, mechanism=Mechanism.PUBLIC),
        Release(name=STATISTICS, mechanism=Mechanism.NOT_PRIVATE),
    ]
    if not task.train:
        return Reply(site=site.name, update=None, statistics=full_statistics(site, arrays), releases=tuple(releases))
    first = task.round_number == 1
    statistics = full_statistics(site, arrays) if first else brief_statistics(site, arrays)
    update = train(site, arrays, round_number=task.round_number)
    if site.privacy is None:
        releases.append(Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE))
    else:
        releases.append(Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=site.privacy.event))
    return Reply(site=site.name, update=update, statistics=statistics, releases=tuple(releases))
