"""A site that shares noise: it checks before it is charged, is charged before it draws, and draws nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.app import answer, introduction
from client.dp.randomness import SystemRandomness
from client.dp.round_noise import Pairing
from client.ledger.ledger import Ledger
from client.measurement.noised_statistics import found_by, noised_statistics
from client.site import Site, SiteAccounts
from client.training.train import train
from common.errors import BudgetExhausted, CohortSmall, ContextReused, LedgerError, PairKeyError
from common.ledger.entries import HELD_OUT, TRAINING, Account, Budget, Reserved
from common.ledger.read import read_books
from common.pair_noise.keys import PairKey, PairStatement
from common.pair_noise.law import PairLaw
from common.privacy.accountant import epsilon_of
from common.privacy.count_noise import GaussianCountNoise, laplace_noise
from common.privacy.events import SampledGaussian
from common.privacy.plan import PrivacyPlan
from common.trust.keys import SigningKey
from common.wire.flower import Task
from common.wire.update import NamedArrays, model_arrays

CONTEXT = "c" * 64
LAW = PairLaw(peers=2, colluding=1, factor=1)
PLAN = PrivacyPlan(
    event=SampledGaussian(noise_multiplier=2.0, sampling_probability=0.5, steps=3),
    delta=1e-3,
    clip_norm=0.5,
    expected_patients=6.5,
    learning_rate=0.1,
    public_weight=0.0,
    pair_law=LAW,
)
COUNTS = GaussianCountNoise(vectors=2, law=LAW, multiplier=0.3, cohort=frozenset({"east", "north", "west"}))
WIDE = Budget(epsilon=20.0, delta=1e-3)
Open = Callable[..., dict[str, Site]]


@pytest.fixture
def cohort(tiny_site: Site, tmp_path: Path) -> Iterator[Open]:
    """Three sites with the same studies and keys and ledgers of their own."""
    ledgers: list[Ledger] = []

    def opened(*, least_peers: int = 0, budget: Budget = WIDE) -> dict[str, Site]:
        keys = {name: SigningKey.fresh() for name in ("east", "north", "west")}
        sites = {}
        for name, key in keys.items():
            ledgers.append(Ledger.open(tmp_path / f"{name}.sqlite3", site=name, key=key, budget=budget))
            account = Account(dataset_digest="ab" * 32, cohort=TRAINING)
            sites[name] = replace(
                tiny_site,
                name=name,
                privacy=PLAN,
                accounts=SiteAccounts(ledger=ledgers[-1], training=account, held_out=replace(account, cohort=HELD_OUT)),
                randomness=lambda _: SystemRandomness(),
                pairing=Pairing(
                    key=PairKey(site=name, run=tiny_site.config_digest, signing_key=key),
                    law=LAW,
                    cohort={other: signing.public for other, signing in keys.items()},
                    least_peers=least_peers,
                ),
            )
        return sites

    yield opened
    for ledger in ledgers:
        ledger.close()


def statements(sites: dict[str, Site]) -> tuple[PairStatement, ...]:
    return tuple(said for site in sites.values() if (said := introduction(site).pair_key) is not None)


def asked(site: Site, keys: tuple[PairStatement, ...], *, context: str = CONTEXT, round_number: int = 1) -> NamedArrays:
    task = Task(round_number=round_number, config_digest=site.config_digest, train=True, pair_keys=keys)
    update = answer(site, task, model_arrays(site.model), context=context).update
    assert update is not None
    return update


def reserved(site: Site, tmp_path: Path) -> list[Reserved]:
    return [entry.body for entry in read_books(tmp_path / f"{site.name}.sqlite3") if isinstance(entry.body, Reserved)]


def test_noise_of_all_cancels_in_the_sum_of_their_updates(cohort: Open) -> None:
    """Each update is far wider than what three sites' own noise leaves of their mean.

    Noise is the system's; within a fifth, a run of chance is rarer than one in a hundred thousand, and noise that does
    not cancel leaves the mean 1.7 times as wide (360 values).
    """
    sites = cohort()
    keys = statements(sites)
    updates = np.stack([np.concatenate([a.ravel() for a in asked(s, keys).values()]) for s in sites.values()])
    own, step = PLAN.own_multiplier, PLAN.learning_rate * PLAN.clip_norm / PLAN.expected_patients
    alone = step * own * np.sqrt(PLAN.event.steps)
    assert updates.std(axis=1) == pytest.approx(alone * np.sqrt(1 + LAW.peers), rel=0.2)
    assert updates.mean(axis=0).std() == pytest.approx(alone / np.sqrt(3), rel=0.2)


def test_ledger_says_what_the_noise_is_made_of(cohort: Open, tmp_path: Path) -> None:
    sites = cohort()
    asked(sites["north"], statements({name: sites[name] for name in ("east", "north")}))
    (body,) = reserved(sites["north"], tmp_path)
    assert body.event == PLAN.event
    assert body.shared is not None
    assert (body.shared.peers, body.shared.absent, body.shared.colluding, body.shared.factor) == (1, 1, 1, 1)
    assert body.shared.context == CONTEXT
    assert body.shared.own_multiplier == PLAN.own_multiplier
    assert body.shared.guaranteed == pytest.approx(PLAN.event.noise_multiplier)
    spent = sites["north"].accounts.ledger.spent(sites["north"].accounts.training)  # type: ignore[union-attr]
    assert spent.epsilon_alone >= spent.epsilon > 0


def test_same_context_is_refused_and_charges_nothing(cohort: Open, tmp_path: Path) -> None:
    """A replayed entry of the server's log, also after the process was restored from an older memory."""
    sites = cohort()
    keys = statements(sites)
    asked(sites["north"], keys)
    restored = replace(sites["north"], pairing=replace(sites["north"].pairing))  # type: ignore[type-var]
    for site in (sites["north"], restored):
        with pytest.raises(ContextReused):
            asked(site, keys, round_number=2)
    assert len(reserved(sites["north"], tmp_path)) == 1
    asked(sites["north"], keys, context="d" * 64, round_number=2)


def test_lying_server_is_refused_before_the_ledger_is_charged(cohort: Open, tmp_path: Path) -> None:
    sites = cohort(least_peers=1)
    keys = statements(sites)
    invented = PairKey(site="invented", run=sites["north"].config_digest, signing_key=SigningKey.fresh()).statement
    with pytest.raises(PairKeyError):
        asked(sites["north"], (*keys, invented))
    with pytest.raises(CohortSmall):
        asked(sites["north"], statements({"north": sites["north"]}))
    with pytest.raises(PairKeyError):
        asked(sites["north"], ())
    assert not reserved(sites["north"], tmp_path)


def test_cap_on_what_all_others_together_could_learn(cohort: Open) -> None:
    stated, alone = (epsilon_of([event], delta=1e-3) for event in (PLAN.event, PLAN.event_alone))
    sites = cohort(budget=Budget(epsilon=20.0, delta=1e-3, epsilon_alone=(stated + alone) / 2))
    with pytest.raises(BudgetExhausted, match="collude"):
        asked(sites["north"], statements(sites))


def test_fifty_false_drop_outs_are_all_charged(cohort: Open, tmp_path: Path) -> None:
    """A server that says each time that everybody else is away gets one message a charge, and more noise in it."""
    sites = cohort(budget=Budget(epsilon=None, delta=1e-3))
    for number in range(50):
        asked(sites["north"], statements({"north": sites["north"]}), context=f"{number:064x}", round_number=number + 1)
    bodies = reserved(sites["north"], tmp_path)
    assert len(bodies) == 50
    assert all(body.shared is not None and body.shared.absent == 2 for body in bodies)


def test_member_that_leaves_out_its_part_widens_the_sum_and_no_message(cohort: Open) -> None:
    """The third site is asked, and sends nothing: what the others share with it stays in their sum."""
    sites = cohort()
    keys = statements(sites)
    updates = np.stack(
        [np.concatenate([a.ravel() for a in asked(sites[name], keys).values()]) for name in ("east", "north")]
    )
    step = PLAN.learning_rate * PLAN.clip_norm / PLAN.expected_patients
    alone = step * PLAN.own_multiplier * np.sqrt(PLAN.event.steps)
    assert updates.std(axis=1) == pytest.approx(alone * np.sqrt(1 + LAW.peers), rel=0.2)
    assert updates.sum(axis=0).std() == pytest.approx(alone * np.sqrt(2 * (1 + 1)), rel=0.15)


def test_run_of_shared_noise_draws_nothing_without_knowing_with_whom(cohort: Open) -> None:
    site = cohort()["north"]
    with pytest.raises(LedgerError, match="with whom"):
        train(site, model_arrays(site.model), round_number=1)


def measured(
    site: Site, keys: tuple[PairStatement, ...], *, context: str = CONTEXT, round_number: int = 2
) -> dict[str, float] | None:
    """The cells that a site tells when it is asked to measure."""
    task = Task(round_number=round_number, config_digest=site.config_digest, train=False, pair_keys=keys)
    told = answer(telling_all(site), task, model_arrays(site.model), context=context).statistics
    return None if told is None else told["paired"]


def telling_all(site: Site) -> Site:
    """The site, which suppresses nothing."""
    evaluation = replace(site.config.evaluation, least_group=1)
    return replace(site, config=replace(site.config, evaluation=evaluation))


@pytest.fixture
def counts_noise(monkeypatch: pytest.MonkeyPatch) -> GaussianCountNoise:
    """Counts have shared noise, though three sites are fewer than a run would choose it for."""
    monkeypatch.setattr("client.app.noise_of", lambda _: COUNTS)
    return COUNTS


def test_noise_of_counts_cancels_in_their_sum(cohort: Open) -> None:
    """500 counts of three sites: variances within 30%, that is 4.7 deviations: false alarms 2e-5."""
    sites = cohort()
    keys, found = statements(sites), found_by(sites["east"], sites["east"].start)
    told = []
    for number in range(125):
        context = f"{number:064x}"
        cells = []
        for site in sites.values():
            assert site.pairing is not None
            opened = site.pairing.open_round(keys, context=context)
            drawn = noised_statistics(telling_all(site), found, found, COUNTS, round_number=2, round_noise=opened)
            cells.append(list(drawn["paired"].values()))
        told.append(cells)
    noise = np.array(told) - np.array(told).mean(axis=0)  # rounds, sites, cells: the exact counts are all alike
    assert noise.var(axis=(0, 2)) == pytest.approx(COUNTS.variance, rel=0.3)
    assert noise.sum(axis=1).var() == pytest.approx(3 * COUNTS.variance_if_all_tell, rel=0.3)
    two = sum(COUNTS.variance_in_sum(name, among=("east", "north")) for name in ("east", "north"))
    assert noise[:, :2].sum(axis=1).var() == pytest.approx(two, rel=0.3)


def test_ledger_says_what_the_noise_of_counts_is_made_of(
    cohort: Open, tmp_path: Path, counts_noise: GaussianCountNoise
) -> None:
    sites = cohort()
    measured(sites["north"], statements(sites))
    (body,) = reserved(sites["north"], tmp_path)
    assert (body.account.cohort, body.event) == (HELD_OUT, counts_noise.event)
    assert body.shared is not None
    assert (body.shared.peers, body.shared.absent) == (2, 0)
    assert body.event_alone == counts_noise.event_alone


def test_counts_and_update_share_no_context(cohort: Open, tmp_path: Path, counts_noise: GaussianCountNoise) -> None:
    """A server that asks for both with one entry of its log would have the first step's noise twice."""
    del counts_noise
    sites = cohort()
    keys = statements(sites)
    asked(sites["north"], keys)
    with pytest.raises(ContextReused):
        measured(sites["north"], keys)
    measured(sites["east"], keys)
    with pytest.raises(ContextReused):
        asked(sites["east"], keys)
    assert len(reserved(sites["north"], tmp_path)) == len(reserved(sites["east"], tmp_path)) == 1


def test_counts_are_not_told_to_strangers(cohort: Open, tmp_path: Path, counts_noise: GaussianCountNoise) -> None:
    del counts_noise
    sites = cohort(least_peers=2)
    keys = statements(sites)
    with pytest.raises(CohortSmall):
        measured(sites["north"], statements({name: sites[name] for name in ("east", "north")}))
    with pytest.raises(PairKeyError):
        measured(sites["north"], (*keys[:1], replace(keys[1], key=keys[0].key), *keys[2:]))
    with pytest.raises(LedgerError, match="with whom was not said"):
        measured(replace(sites["east"], pairing=None), keys)
    assert reserved(sites["north"], tmp_path) == []


def test_nothing_is_drawn_where_the_budget_covers_one_of_two_measurements(
    cohort: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of all fit, and those by group beside them do not: neither is made."""
    monkeypatch.setattr("client.app.noise_of", lambda _: laplace_noise(1.0, vectors=2))
    monkeypatch.setattr("client.app.group_noise_of", lambda _: laplace_noise(1.0, vectors=4))
    monkeypatch.setattr("client.app.found_by", lambda *_: pytest.fail("a patient was looked up"))
    sites = cohort(budget=replace(WIDE, epsilon=1.5))
    with pytest.raises(BudgetExhausted, match="'groups'"):
        measured(sites["north"], statements(sites))
