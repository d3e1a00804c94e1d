"""A site's metrics: what it answered, and what its ledger says it spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from client.check.budget import accounts_of, budget_of
from client.deploy.identity import SiteIdentity, SiteKeys, read_identity
from client.deploy.init import join
from client.deploy.metrics import LedgerReader, SiteMetrics, Spend
from client.ledger.ledger import Ledger
from client.policy.site_schema import SiteBudget, SiteConfig, SiteData
from client.state_folder import LEDGER_FILE
from common.privacy.events import DiscreteLaplace
from common.service.supervisor import ChildStatus
from tests.client.deploy.centre import NOW, Centre

EVENT = DiscreteLaplace(noise_scale=2.0, releases=1)
"""Epsilon 1/2 by its definition: one count, sensitivity 1, scale 2."""


@dataclass
class Agent:
    """An agent that runs, as far as its metrics see one."""

    ready: bool = True
    answers: Mapping[str, int] = field(default_factory=dict)
    children: Mapping[str, ChildStatus] = field(default_factory=dict)

    def status(self) -> Mapping[str, ChildStatus]:
        """Its processes."""
        return self.children


@pytest.fixture
def identity(keys: SiteKeys, centre: Centre) -> SiteIdentity:
    join(keys.folder, centre.answer_to(keys.request), now=NOW)
    return read_identity(keys.folder, now=NOW)


@pytest.fixture
def config(identity: SiteIdentity) -> SiteConfig:
    return SiteConfig(
        site=identity.name,
        state_folder=identity.keys.folder,
        data=SiteData(name="chest", adapter="manifest", root=Path("studies")),
        budget=SiteBudget(epsilon=2.0, delta=1e-5, epsilon_per_run=2.0),
    )


def measured(metrics: SiteMetrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("wardround_"), *sample.labels.values()): sample.value
        for family in metrics()
        for sample in family.samples
    }


def metrics_of(agent: Agent, identity: SiteIdentity, *, now: datetime = NOW, spend: Any = None) -> SiteMetrics:
    return SiteMetrics(agent, identity, spend=lambda: spend, clock=lambda: now)


def reserve(config: SiteConfig, identity: SiteIdentity, *, cohort: int, round_number: int) -> None:
    path, key = config.state_folder / LEDGER_FILE, identity.keys.signing_key
    with Ledger.open(path, site=config.site, key=key, budget=budget_of(config)) as ledger:
        account = accounts_of(config)[cohort]
        ledger.reserve(account, run="r", round_number=round_number, release="statistics", event=EVENT)


def test_messages_are_counted_by_reason(identity: SiteIdentity) -> None:
    found = measured(metrics_of(Agent(answers={"": 7, "policy": 2, "budget": 1}), identity))
    assert found["messages_answered_total",] == 7
    assert found["messages_refused_total", "policy"] == 2
    assert found["messages_refused_total", "budget"] == 1


def test_connection_children_and_end_of_admission(identity: SiteIdentity) -> None:
    agent = Agent(ready=False, children={"worker": {"pid": None, "restarts": 4, "up_seconds": None}})
    found = measured(metrics_of(agent, identity, now=NOW + timedelta(days=1)))
    assert (found["connected",], found["child_up", "worker"], found["child_restarts_total", "worker"]) == (0, 0, 4)
    expiry = identity.admission.expiry.end
    assert found["days_until_end", "admission"] == pytest.approx((expiry - NOW).total_seconds() / 86400 - 1)


def test_ledger_that_cannot_be_read_shows_no_epsilon(identity: SiteIdentity) -> None:
    found = measured(metrics_of(Agent(), identity))
    assert found["ledger_readable",] == 0
    assert not [key for key in found if "epsilon" in key[0]]
    spend = Spend(epsilon={"train": 1.0}, remaining={"train": 7.0})
    found = measured(metrics_of(Agent(), identity, spend=spend))
    assert (found["ledger_readable",], found["epsilon_spent", "train"], found["epsilon_remaining", "train"]) == (
        1,
        1,
        7,
    )


def test_spend_is_read_from_the_ledger(config: SiteConfig, identity: SiteIdentity) -> None:
    before = LedgerReader(config, identity)()
    assert before is not None
    assert set(before.epsilon.values()) == {0.0}
    assert set(before.remaining.values()) == {2.0}
    reserve(config, identity, cohort=1, round_number=1)
    after = LedgerReader(config, identity)()
    assert after is not None
    training, held_out = (account.cohort for account in accounts_of(config))
    assert after.epsilon[training] == 0.0
    assert after.epsilon[held_out] == pytest.approx(0.5, rel=1e-2)
    assert after.remaining[held_out] == pytest.approx(1.5, rel=1e-2)


def test_ledger_is_read_once_a_minute(config: SiteConfig, identity: SiteIdentity) -> None:
    now = 100.0
    reader = LedgerReader(config, identity, seconds=lambda: now)
    first = reader()
    reserve(config, identity, cohort=0, round_number=1)
    now += 59.9
    assert reader() is first
    now += 0.2
    assert reader() != first


def test_slow_ledger_is_read_less_often(config: SiteConfig, identity: SiteIdentity) -> None:
    reads = iter([0.0, 10.0, 199.0, 209.9, 210.1, 210.2])  # begin and end of a read of 10 s, then looks
    reader = LedgerReader(config, identity, seconds=lambda: next(reads))
    first = reader()
    reserve(config, identity, cohort=0, round_number=1)
    assert [reader(), reader()] == [first, first]
    assert reader() != first


def test_damaged_ledger_is_said_and_read_again_when_it_is_mended(
    config: SiteConfig, identity: SiteIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    reserve(config, identity, cohort=0, round_number=1)
    path = config.state_folder / LEDGER_FILE
    whole = path.read_bytes()
    path.write_bytes(b"nonsense")
    reader = LedgerReader(config, identity, seconds=lambda: now)
    assert reader() is None
    assert "the ledger cannot be read" in caplog.text
    path.write_bytes(whole)
    now += 61
    assert reader() is not None


def test_nothing_that_is_measured_counts_or_names_patients(config: SiteConfig, identity: SiteIdentity) -> None:
    reserve(config, identity, cohort=0, round_number=1)
    metrics = SiteMetrics(Agent(), identity, spend=LedgerReader(config, identity), clock=lambda: NOW)
    assert {key[0] for key in measured(metrics)} == {
        "connected",
        "messages_answered_total",
        "ledger_readable",
        "epsilon_spent",
        "epsilon_remaining",
        "days_until_end",
    }
