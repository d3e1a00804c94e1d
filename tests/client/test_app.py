"""The ClientApp of a site: who it is, what it answers, and what a task of another run gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from client.app import answer, build_client_app
from client.site import Site
from common.errors import PolicyRefusal
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from common.privacy.release import Mechanism
from common.wire.flower import (
    SITE,
    STATISTICS,
    UPDATE,
    Task,
    arrays_to_record,
    hello_from_records,
    hello_to_records,
    reply_from_records,
    task_to_records,
)
from common.wire.update import ArrayPlan, model_arrays

EVENT = SampledGaussian(noise_multiplier=2.0, sampling_probability=0.5, steps=3)
PLAN = PrivacyPlan(event=EVENT, delta=1e-3, clip_norm=0.5, learning_rate=0.1, public_weight=0.0)


def task(site: Site, *, round_number: int = 1, train: bool = True, digest: str | None = None) -> Task:
    return Task(round_number=round_number, config_digest=digest or site.config_digest, train=train)


def sent(site: Site, content: RecordDict, kind: str) -> Message:
    @contextmanager
    def lend(context: Context) -> Iterator[Site]:  # noqa: ARG001 - one site
        yield site

    app = build_client_app(lend, allowed=frozenset(Mechanism))
    return app(Message(content, 7, kind), Context(0, 7, {}, RecordDict(), {}))


@pytest.mark.usefixtures("flower_runtime")
def test_app_says_who_it_is(tiny_site: Site) -> None:
    assert hello_from_records(sent(tiny_site, hello_to_records(), "query").content) == ("north", "11-15")


@pytest.mark.usefixtures("flower_runtime")
def test_app_trains_and_measures_in_one_message(tiny_site: Site) -> None:
    arrays = model_arrays(tiny_site.model)
    names = [name for name, _ in tiny_site.model.named_parameters()]
    content = task_to_records(task(tiny_site), arrays_to_record(arrays))
    reply = sent(tiny_site, content, "train").content
    decoded = reply_from_records(reply, ArrayPlan.of({name: arrays[name] for name in names}))
    assert decoded.site == "north"
    assert decoded.statistics["gallery"] == 6
    assert decoded.update is not None
    assert all(np.isfinite(value).all() for value in decoded.update.values())


@pytest.mark.usefixtures("flower_runtime")
@pytest.mark.parametrize("content", [hello_to_records(), RecordDict()])
def test_app_message_that_is_no_task_gets_a_reason_code(tiny_site: Site, content: RecordDict) -> None:
    assert sent(tiny_site, content, "train").error.reason in {"malformed", "raised"}


@pytest.mark.usefixtures("flower_runtime")
def test_app_arrays_of_another_model_get_a_reason_code(tiny_site: Site) -> None:
    arrays = model_arrays(tiny_site.model)
    arrays.popitem()
    content = task_to_records(task(tiny_site), arrays_to_record(arrays))
    assert sent(tiny_site, content, "train").error.reason == "malformed"


@pytest.mark.parametrize("train", [True, False])
def test_answer_to_another_run_is_refused(tiny_site: Site, *, train: bool) -> None:
    with pytest.raises(PolicyRefusal, match="config digest"):
        answer(tiny_site, task(tiny_site, train=train, digest="0" * 64), model_arrays(tiny_site.model))


def test_answer_lists_the_update_as_not_private_without_privacy(tiny_site: Site) -> None:
    reply = answer(tiny_site, task(tiny_site), model_arrays(tiny_site.model))
    listed = {release.name: (release.mechanism, release.event) for release in reply.releases}
    assert listed[UPDATE] == (Mechanism.NOT_PRIVATE, None)


def test_answer_lists_the_update_with_its_event_under_privacy(tiny_site: Site) -> None:
    site = replace(tiny_site, privacy=PLAN)
    reply = answer(site, task(site, round_number=2), model_arrays(site.model))
    listed = {release.name: (release.mechanism, release.event) for release in reply.releases}
    assert listed[UPDATE] == (Mechanism.PATIENT_DP_SGD, EVENT)
    assert listed[STATISTICS] == (Mechanism.NOT_PRIVATE, None)
    assert set(reply.statistics) == {"brief"}


def test_answer_that_only_measures_holds_no_update(tiny_site: Site) -> None:
    reply = answer(tiny_site, task(tiny_site, round_number=9, train=False), model_arrays(tiny_site.model))
    assert reply.update is None
    assert {release.name for release in reply.releases} == {SITE, STATISTICS}
    assert "groups" in reply.statistics
