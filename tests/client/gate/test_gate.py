"""Forbidden replies through a real ClientApp: nothing of them leaves but a reason code."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_to_proto

from client.gate.gate import Gate, Guard
from client.gate.recorder import NoRecorder
from client.ledger.ledger import Ledger
from client.policy.interface import Policy, RunRequest
from client.policy.release_rules import AllowedMechanisms, LeastCell
from client.policy.run_rules import AllowedConfig
from common.config.load import load_config
from common.errors import BudgetExhausted, PolicyRefusal
from common.ledger.entries import Account, Budget
from common.privacy.bands import SMALL
from common.privacy.events import DiscreteLaplace, SampledGaussian
from common.privacy.release import Mechanism, Release
from common.trust.keys import SigningKey
from common.wire.flower import (
    RELEASES,
    SITE,
    STATISTICS,
    UPDATE,
    Hello,
    Reply,
    Task,
    hello_reply_to_records,
    reply_to_records,
    task_to_records,
)
from common.wire.flower_arrays import arrays_to_record

pytestmark = pytest.mark.usefixtures("flower_runtime")

NAME = "Maria-Huber-1951"
DIGEST = "ab" * 32
ROUND = 3
EVENT = SampledGaussian(noise_multiplier=1.0, sampling_probability=0.1, steps=5)
PUBLIC_SITE = Release(name=SITE, mechanism=Mechanism.PUBLIC)
UPDATE_ARRAYS = {NAME: np.zeros(2, dtype=np.float32)}
HOSPITAL = Policy(
    run_rules=(AllowedConfig([DIGEST]),),
    release_rules=(
        AllowedMechanisms(
            {
                SITE: frozenset({Mechanism.PUBLIC}),
                STATISTICS: frozenset({Mechanism.DISCRETE_LAPLACE}),
                UPDATE: frozenset({Mechanism.PATIENT_DP_SGD}),
            }
        ),
        LeastCell(11),
    ),
)
RUN = RunRequest(
    config=load_config(["evaluation.least_group=11"]),
    config_digest=DIGEST,
    bundle_hash=None,
    events=(EVENT,),
    rounds=5,
    patients_band=SMALL,
    cohort=None,
    arrays=None,
    device="cpu",
    local_time=time(12),
)

Answer = Callable[[], RecordDict]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    key = SigningKey.create(tmp_path / "key.pem")
    with Ledger.open(tmp_path / "l.sqlite3", site="north", key=key, budget=Budget(epsilon=8.0, delta=1e-3)) as opened:
        yield opened


def reserved(ledger: Ledger, **changes: object) -> str:
    what = {"run": DIGEST, "round_number": ROUND, "release": UPDATE, "event": EVENT, **changes}
    return ledger.reserve(Account(dataset_digest="cd" * 32, cohort="train"), **what).entry  # type: ignore[arg-type]


def update_reply(entry: str | None, **changes: object) -> RecordDict:
    release = Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=EVENT, ledger_entry=entry)
    releases = (PUBLIC_SITE, replace(release, **changes))  # type: ignore[arg-type]
    records = reply_to_records(
        Reply(site="north", round_number=ROUND, run=DIGEST, update=UPDATE_ARRAYS, statistics={}, releases=releases)
    )
    del records[STATISTICS]
    return records


def unlisted_record() -> RecordDict:
    records = hello_reply_to_records(Hello(site="north", patients_band="16-31"))
    records["extra"] = MetricRecord({NAME: 1.0})
    return records


def unlisted_update() -> RecordDict:
    records = hello_reply_to_records(Hello(site="north", patients_band="16-31"))
    records[UPDATE] = arrays_to_record(UPDATE_ARRAYS)
    return records


def _with(name: str, record: ConfigRecord | MetricRecord, mechanism: Mechanism) -> RecordDict:
    records = hello_reply_to_records(Hello(site="north", patients_band="16-31"))
    listed = [{"name": name, "mechanism": str(mechanism), "event": None, "ledger_entry": None}]
    listed += [{"name": SITE, "mechanism": "public", "event": None, "ledger_entry": None}] if name != SITE else []
    records[name] = record
    records[RELEASES] = ConfigRecord({"json": json.dumps(listed)})
    return records


def listed_unknown_record() -> RecordDict:
    return _with("gradient-norms", MetricRecord({NAME: 1.0}), Mechanism.PUBLIC)


def local_loss_beside_the_site() -> RecordDict:
    return _with(SITE, ConfigRecord({"name": "north", "loss": NAME}), Mechanism.PUBLIC)


def count_in_place_of_a_text() -> RecordDict:
    return _with(SITE, ConfigRecord({"name": [NAME]}), Mechanism.PUBLIC)


def number_in_place_of_the_round() -> RecordDict:
    return _with(SITE, ConfigRecord({"name": NAME, "round": 1951}), Mechanism.PUBLIC)


def truth_in_place_of_the_round() -> RecordDict:
    return _with(SITE, ConfigRecord({"name": NAME, "round": True}), Mechanism.PUBLIC)


def secret_in_place_of_the_run() -> RecordDict:
    return _with(SITE, ConfigRecord({"name": "north", "run": NAME}), Mechanism.PUBLIC)


def site_as_metrics() -> RecordDict:
    return _with(SITE, MetricRecord({NAME: 1.0}), Mechanism.PUBLIC)


def statistics_called_public() -> RecordDict:
    return _with(STATISTICS, ConfigRecord({"json": NAME}), Mechanism.PUBLIC)


def mechanism_not_allowed() -> RecordDict:
    return _with(STATISTICS, ConfigRecord({"json": NAME}), Mechanism.NOT_PRIVATE)


def statistics_without_an_event() -> RecordDict:
    return _with(STATISTICS, ConfigRecord({"json": NAME}), Mechanism.DISCRETE_LAPLACE)


def update_without_a_ledger_entry() -> RecordDict:
    return update_reply(None)


def update_without_an_event() -> RecordDict:
    return update_reply("ef" * 32, event=None)


def update_that_nobody_reserved() -> RecordDict:
    return update_reply("ef" * 32)


def unknown_mechanism() -> RecordDict:
    records = hello_reply_to_records(Hello(site=NAME, patients_band="16-31"))
    listed = [{"name": SITE, "mechanism": "trust_me", "event": None, "ledger_entry": None}]
    records[RELEASES] = ConfigRecord({"json": json.dumps(listed)})
    return records


def missing_releases() -> RecordDict:
    return RecordDict({SITE: ConfigRecord({"name": NAME})})


def more_than_releases() -> RecordDict:
    records = hello_reply_to_records(Hello(site="north", patients_band="16-31"))
    records.config_records[RELEASES]["note"] = NAME
    return records


def release_with_a_note() -> RecordDict:
    records = hello_reply_to_records(Hello(site="north", patients_band="16-31"))
    listed = [{"name": SITE, "mechanism": "public", "event": None, "ledger_entry": None, "note": NAME}]
    records[RELEASES] = ConfigRecord({"json": json.dumps(listed)})
    return records


def release_of_nothing() -> RecordDict:
    records = hello_reply_to_records(Hello(site="north", patients_band="16-31"))
    listed = [{"name": name, "mechanism": "public", "event": None, "ledger_entry": None} for name in (SITE, NAME)]
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
    listed_unknown_record: "policy",
    local_loss_beside_the_site: "policy",
    count_in_place_of_a_text: "policy",
    number_in_place_of_the_round: "policy",
    truth_in_place_of_the_round: "policy",
    secret_in_place_of_the_run: "policy",
    site_as_metrics: "policy",
    statistics_called_public: "policy",
    mechanism_not_allowed: "policy",
    statistics_without_an_event: "policy",
    update_without_a_ledger_entry: "policy",
    update_without_an_event: "policy",
    update_that_nobody_reserved: "ledger",
    unknown_mechanism: "policy",
    missing_releases: "policy",
    more_than_releases: "policy",
    release_with_a_note: "policy",
    release_of_nothing: "policy",
    raises_exception: "raised",
    raises_refusal: "policy",
    raises_exhausted: "budget",
}


def app_that_answers(answer: Callable[[], RecordDict | Error], mods: list[Gate]) -> ClientApp:
    app = ClientApp()

    def handle(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
        return Message(answer(), reply_to=message)

    for register in (app.train, app.evaluate, app.query):
        register(mods=mods)(handle)
    return app


def reply_of(app: ClientApp, kind: str = "train", *, digest: str = DIGEST) -> Message:
    task = task_to_records(Task(round_number=ROUND, config_digest=digest, train=True), arrays_to_record({}))
    return app(Message(task, 7, kind), Context(0, 7, {}, RecordDict(), {}))


def gate(ledger: Ledger | None, policy: Policy = HOSPITAL) -> Gate:
    guard = Guard(policy=policy, run=lambda: RUN, ledger=ledger, recorder=NoRecorder())
    return Gate(lambda context: guard, logging.getLogger("tests.site"))  # noqa: ARG005 - one site


@pytest.mark.parametrize("kind", ["train", "evaluate", "query"])
@pytest.mark.parametrize("answer", FORBIDDEN)
def test_gate_sends_a_reason_code_instead(answer: Answer, kind: str, ledger: Ledger) -> None:
    reply = reply_of(app_that_answers(answer, [gate(ledger)]), kind)
    assert reply.has_error()
    assert not reply.has_content()
    assert reply.error.reason == FORBIDDEN[answer]
    assert NAME.encode() not in message_to_proto(reply).SerializeToString()


@pytest.mark.parametrize("answer", [answer for answer in FORBIDDEN if not answer.__name__.startswith("raises")])
def test_without_the_gate_the_secret_leaves(answer: Answer) -> None:
    """The control: the search of the serialised reply finds what an unguarded site sends."""
    reply = reply_of(app_that_answers(answer, []), "train")
    assert NAME.encode() in message_to_proto(reply).SerializeToString()


def test_gate_lets_a_paid_update_pass_unchanged_and_settles_it(ledger: Ledger) -> None:
    entry = reserved(ledger)
    reply = reply_of(app_that_answers(lambda: update_reply(entry), [gate(ledger)]))
    assert reply.content == update_reply(entry)
    spent = ledger.spent(Account(dataset_digest="cd" * 32, cohort="train"))
    assert (spent.num_reserved, spent.num_settled) == (1, 1)


def test_gate_lets_one_reservation_pay_once(ledger: Ledger) -> None:
    entry = reserved(ledger)
    app = app_that_answers(lambda: update_reply(entry), [gate(ledger)])
    assert not reply_of(app).has_error()
    assert reply_of(app).error.reason == "ledger"


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "00" * 32},
        {"round_number": ROUND + 1},
        {"release": STATISTICS},
        {"event": replace(EVENT, steps=1)},
        {"event": replace(EVENT, noise_multiplier=50.0)},
        {"event": DiscreteLaplace(noise_scale=100.0, releases=1)},
    ],
)
def test_gate_refuses_an_update_that_another_reservation_pays_for(ledger: Ledger, changes: dict[str, object]) -> None:
    entry = reserved(ledger, **changes)
    assert reply_of(app_that_answers(lambda: update_reply(entry), [gate(ledger)])).error.reason == "ledger"


def test_gate_of_a_site_without_a_ledger_lets_nothing_private_out(ledger: Ledger) -> None:
    entry = reserved(ledger)
    assert reply_of(app_that_answers(lambda: update_reply(entry), [gate(None)])).error.reason == "policy"


def test_gate_sends_nothing_where_the_ledger_cannot_be_written(ledger: Ledger) -> None:
    entry = reserved(ledger)
    ledger.close()
    assert reply_of(app_that_answers(lambda: update_reply(entry), [gate(ledger)])).error.reason == "ledger"


def test_gate_asks_the_policy_before_any_work_is_done(ledger: Ledger) -> None:
    worked = []
    app = app_that_answers(lambda: worked.append(1) or RecordDict(), [gate(ledger)])
    assert reply_of(app, digest="00" * 32).error.reason == "policy"
    other_run = Policy(run_rules=(AllowedConfig([]),), release_rules=HOSPITAL.release_rules)
    app = app_that_answers(lambda: worked.append(1) or RecordDict(), [gate(ledger, other_run)])
    assert reply_of(app).error.reason == "policy"
    assert worked == []


def test_gate_replaces_an_error_of_the_apps_own(ledger: Ledger) -> None:
    app = app_that_answers(lambda: Error(0, f"no report for {NAME}"), [gate(ledger)])
    reply = reply_of(app)
    assert reply.error.reason == "raised"
    assert NAME.encode() not in message_to_proto(reply).SerializeToString()


def test_gate_that_allows_nothing_refuses_what_is_public(ledger: Ledger) -> None:
    nothing = Policy(run_rules=(), release_rules=(AllowedMechanisms({}),))
    reply = reply_of(
        app_that_answers(
            lambda: hello_reply_to_records(Hello(site="north", patients_band="16-31")), [gate(ledger, nothing)]
        )
    )
    assert reply.error.reason == "policy"


def test_gate_keeps_the_text_in_the_sites_own_log(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    reply_of(app_that_answers(raises_exception, [gate(ledger)]), "train")
    assert NAME in caplog.text
