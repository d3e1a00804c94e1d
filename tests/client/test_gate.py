"""Forbidden replies through a real ClientApp: nothing of them leaves but a reason code."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_to_proto

from client.gate import Gate
from common.errors import BudgetExhausted, PolicyRefusal
from common.privacy.events import SampledGaussian
from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    RELEASES,
    SITE,
    STATISTICS,
    UPDATE,
    Reply,
    arrays_to_record,
    hello_reply_to_records,
    reply_to_records,
)

pytestmark = pytest.mark.usefixtures("flower_runtime")

NAME = "Maria-Huber-1951"
EVENT = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.1, steps=5)
ALLOWED = frozenset({Mechanism.PUBLIC, Mechanism.PATIENT_DP_SGD})
PUBLIC_SITE = Release(name=SITE, mechanism=Mechanism.PUBLIC)
UPDATE_ARRAYS = {NAME: np.zeros(2, dtype=np.float32)}

Answer = Callable[[], RecordDict]


def unlisted_record() -> RecordDict:
    records = hello_reply_to_records("north", "16-31")
    records["extra"] = MetricRecord({NAME: 1.0})
    return records


def unlisted_update() -> RecordDict:
    records = hello_reply_to_records("north", "16-31")
    records[UPDATE] = arrays_to_record(UPDATE_ARRAYS)
    return records


def mechanism_not_allowed() -> RecordDict:
    releases = (PUBLIC_SITE, Release(name=STATISTICS, mechanism=Mechanism.NOT_PRIVATE))
    return reply_to_records(Reply(site="north", update=None, statistics={NAME: 1}, releases=releases))


def unknown_mechanism() -> RecordDict:
    records = hello_reply_to_records(NAME, "16-31")
    records[RELEASES] = ConfigRecord({"json": json.dumps([{"name": SITE, "mechanism": "trust_me", "event": None}])})
    return records


def missing_releases() -> RecordDict:
    return RecordDict({SITE: ConfigRecord({"name": NAME})})


def more_than_releases() -> RecordDict:
    records = hello_reply_to_records("north", "16-31")
    records.config_records[RELEASES]["note"] = NAME
    return records


def release_with_a_note() -> RecordDict:
    records = hello_reply_to_records("north", "16-31")
    listed = [{"name": SITE, "mechanism": "public", "event": None, "note": NAME}]
    records[RELEASES] = ConfigRecord({"json": json.dumps(listed)})
    return records


def raises_exception() -> RecordDict:
    raise ValueError(f"no report for {NAME}")


def raises_refusal() -> RecordDict:
    raise PolicyRefusal(f"{NAME} objected")


def raises_exhausted() -> RecordDict:
    raise BudgetExhausted(f"{NAME} is used up")


FORBIDDEN: dict[Answer, str] = {
    unlisted_record: "policy",
    unlisted_update: "policy",
    mechanism_not_allowed: "policy",
    unknown_mechanism: "policy",
    missing_releases: "policy",
    more_than_releases: "policy",
    release_with_a_note: "policy",
    raises_exception: "raised",
    raises_refusal: "policy",
    raises_exhausted: "budget",
}


def app_that_answers(answer: Answer, mods: list[Gate]) -> ClientApp:
    app = ClientApp()

    def handle(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
        return Message(answer(), reply_to=message)

    for register in (app.train, app.evaluate, app.query):
        register(mods=mods)(handle)
    return app


def reply_of(app: ClientApp, kind: str) -> Message:
    message = Message(RecordDict(), 7, kind)
    return app(message, Context(0, 7, {}, RecordDict(), {}))


def gate(allowed: frozenset[Mechanism] = ALLOWED) -> Gate:
    return Gate(allowed, logging.getLogger("tests.site"))


@pytest.mark.parametrize("kind", ["train", "evaluate", "query"])
@pytest.mark.parametrize("answer", FORBIDDEN)
def test_gate_sends_a_reason_code_instead(answer: Answer, kind: str) -> None:
    reply = reply_of(app_that_answers(answer, [gate()]), kind)
    assert reply.has_error()
    assert not reply.has_content()
    assert reply.error.reason == FORBIDDEN[answer]
    assert NAME.encode() not in message_to_proto(reply).SerializeToString()


@pytest.mark.parametrize("answer", [answer for answer in FORBIDDEN if not answer.__name__.startswith("raises")])
def test_without_the_gate_the_secret_leaves(answer: Answer) -> None:
    """The control: the search of the serialised reply finds what an unguarded site sends."""
    reply = reply_of(app_that_answers(answer, []), "train")
    assert NAME.encode() in message_to_proto(reply).SerializeToString()


def allowed_update() -> RecordDict:
    releases = (
        PUBLIC_SITE,
        Release(name=STATISTICS, mechanism=Mechanism.PUBLIC),
        Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT),
    )
    return reply_to_records(Reply(site="north", update=UPDATE_ARRAYS, statistics={}, releases=releases))


def test_gate_lets_allowed_releases_pass_unchanged() -> None:
    reply = reply_of(app_that_answers(allowed_update, [gate()]), "train")
    assert not reply.has_error()
    assert reply.content == allowed_update()


def test_gate_that_allows_nothing_refuses_what_is_public() -> None:
    reply = reply_of(app_that_answers(allowed_update, [gate(frozenset())]), "train")
    assert reply.error.reason == "policy"


def test_gate_keeps_the_text_in_the_sites_own_log(caplog: pytest.LogCaptureFixture) -> None:
    reply_of(app_that_answers(raises_exception, [gate()]), "train")
    assert NAME in caplog.text
