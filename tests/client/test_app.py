"""The ClientApp of a site: who it is, what it answers, and what a task of another run gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import time
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict

from client.app import answer, build_client_app
from client.dp.randomness import SeededRandomness
from client.gate.gate import Guard
from client.gate.recorder import NoRecorder
from client.ledger.ledger import Ledger
from client.policy.interface import RunRequest
from client.policy.simulated import simulation_policy
from client.site import Site, SiteAccounts
from common.errors import BudgetExhausted, LedgerError
from common.ledger.entries import Account, Budget
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from common.privacy.release import Mechanism
from common.seeds import torch_generator
from common.trust.keys import SigningKey
from common.wire.flower import (
    SITE,
    STATISTICS,
    UPDATE,
    Hello,
    Task,
    hello_from_records,
    hello_to_records,
    reply_from_records,
    task_to_records,
)
from common.wire.flower_arrays import arrays_to_record
from common.wire.update import ArrayPlan, model_arrays

EVENT = SampledGaussian(noise_multiplier=2.0, sampling_probability=0.5, steps=3)
CONTEXT = "c" * 64
PLAN = PrivacyPlan(event=EVENT, delta=1e-3, clip_norm=0.5, expected_patients=1.0, learning_rate=0.1, public_weight=0.0)


def task(site: Site, *, round_number: int = 1, train: bool = True, digest: str | None = None) -> Task:
    return Task(round_number=round_number, config_digest=digest or site.config_digest, train=train)


def sent(site: Site, content: RecordDict, kind: str) -> Message:
    @contextmanager
    def lend(context: Context) -> Iterator[Site]:  # noqa: ARG001 - one site
        yield site

    def run() -> RunRequest:
        return RunRequest(
            config=site.config,
            config_digest=site.config_digest,
            bundle_hash=None,
            events=(),
            rounds=1,
            patients_band=site.patients_band,
            cohort=None,
            arrays=None,
            device="cpu",
            local_time=time(12),
        )

    ledger = site.accounts.ledger if site.accounts else None
    guard = Guard(policy=simulation_policy(), run=run, ledger=ledger, recorder=NoRecorder())
    app = build_client_app(lend, guard_of=lambda context: guard)  # noqa: ARG005 - one site
    return app(Message(content, 7, kind), Context(0, 7, {}, RecordDict(), {}))


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[SiteAccounts]:
    key = SigningKey.create(tmp_path / "key.pem")
    with Ledger.open(tmp_path / "l.sqlite3", site="north", key=key, budget=Budget(epsilon=3.0, delta=1e-3)) as ledger:
        yield SiteAccounts(
            ledger=ledger,
            training=Account(dataset_digest="ab" * 32, cohort="train"),
            held_out=Account(dataset_digest="ab" * 32, cohort="held_out"),
        )


@pytest.mark.usefixtures("flower_runtime")
def test_app_says_who_it_is(tiny_site: Site) -> None:
    assert hello_from_records(sent(tiny_site, hello_to_records(), "query").content) == Hello(
        site="north", patients_band="11-15"
    )


@pytest.mark.usefixtures("flower_runtime")
def test_app_trains_and_measures_in_one_message(tiny_site: Site) -> None:
    arrays = model_arrays(tiny_site.model)
    names = [name for name, _ in tiny_site.model.named_parameters()]
    content = task_to_records(task(tiny_site), arrays_to_record(arrays))
    reply = sent(tiny_site, content, "train").content
    decoded = reply_from_records(reply, ArrayPlan.of({name: arrays[name] for name in names}))
    assert decoded.site == "north"
    assert decoded.statistics["gallery"] == 12
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


@pytest.mark.usefixtures("flower_runtime")
@pytest.mark.parametrize("train", [True, False])
def test_app_refuses_a_task_of_another_run(tiny_site: Site, *, train: bool) -> None:
    other = task(tiny_site, train=train, digest="0" * 64)
    content = task_to_records(other, arrays_to_record(model_arrays(tiny_site.model)))
    assert sent(tiny_site, content, "train").error.reason == "policy"


@pytest.mark.usefixtures("flower_runtime")
def test_app_answers_no_message_of_the_kind_evaluate(tiny_site: Site) -> None:
    content = task_to_records(task(tiny_site), arrays_to_record(model_arrays(tiny_site.model)))
    assert sent(tiny_site, content, "evaluate").error.reason == "policy"


def test_answer_lists_the_update_as_not_private_without_privacy(tiny_site: Site) -> None:
    reply = answer(tiny_site, task(tiny_site), model_arrays(tiny_site.model), context=CONTEXT)
    listed = {release.name: (release.mechanism, release.event) for release in reply.releases}
    assert listed[UPDATE] == (Mechanism.NOT_PRIVATE, None)


def test_answer_charges_the_ledger_and_names_the_entry(tiny_site: Site, accounts: SiteAccounts) -> None:
    site = replace(tiny_site, privacy=PLAN, accounts=accounts)
    reply = answer(site, task(site, round_number=2), model_arrays(site.model), context=CONTEXT)
    listed = {release.name: (release.mechanism, release.event) for release in reply.releases}
    assert listed[UPDATE] == (Mechanism.PATIENT_DP_SGD, EVENT)
    assert listed[STATISTICS] == (Mechanism.NOT_PRIVATE, None)
    assert set(reply.statistics) == {"brief"}
    (entry,) = [release.ledger_entry for release in reply.releases if release.name == UPDATE]
    assert entry == reply.ledger_head == accounts.ledger.head().digest
    assert accounts.ledger.spent(accounts.training).num_reserved == 1


def test_answer_reserves_before_it_draws(tiny_site: Site, accounts: SiteAccounts) -> None:
    """The source of noise looks at the ledger when it is asked for."""
    seen = []

    def randomness(round_number: int) -> SeededRandomness:
        seen.append(accounts.ledger.spent(accounts.training).num_reserved)
        return SeededRandomness(torch_generator(0, round_number))

    site = replace(tiny_site, privacy=PLAN, accounts=accounts, randomness=randomness)
    answer(site, task(site), model_arrays(site.model), context=CONTEXT)
    assert seen == [1]


def test_answer_over_budget_draws_nothing(tiny_site: Site, accounts: SiteAccounts) -> None:
    def randomness(round_number: int) -> SeededRandomness:
        raise AssertionError(f"noise was drawn in round {round_number}")

    dear = replace(PLAN, event=replace(EVENT, noise_multiplier=0.3))
    site = replace(tiny_site, privacy=dear, accounts=accounts, randomness=randomness)
    with pytest.raises(BudgetExhausted, match="north"):
        answer(site, task(site), model_arrays(site.model), context=CONTEXT)
    assert accounts.ledger.spent(accounts.training).num_reserved == 0


def test_answer_without_a_ledger_trains_nothing_private(tiny_site: Site) -> None:
    site = replace(tiny_site, privacy=PLAN)
    with pytest.raises(LedgerError, match="no ledger"):
        answer(site, task(site), model_arrays(site.model), context=CONTEXT)


@pytest.mark.usefixtures("flower_runtime")
def test_app_sends_a_private_update_through_its_gate_once(tiny_site: Site, accounts: SiteAccounts) -> None:
    site = replace(tiny_site, privacy=PLAN, accounts=accounts)
    content = task_to_records(task(site), arrays_to_record(model_arrays(site.model)))
    assert UPDATE in sent(site, content, "train").content
    spent = accounts.ledger.spent(accounts.training)
    assert (spent.num_reserved, spent.num_settled) == (1, 1)


def test_answer_that_only_measures_holds_no_update(tiny_site: Site) -> None:
    reply = answer(
        tiny_site, task(tiny_site, round_number=9, train=False), model_arrays(tiny_site.model), context=CONTEXT
    )
    assert reply.update is None
    assert {release.name for release in reply.releases} == {SITE, STATISTICS}
    assert "groups" in reply.statistics
