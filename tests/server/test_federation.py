"""A run over sites in memory: what bad sites send never leaves the round, and what good sites send is what counts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from common.errors import CheckFailed
from common.privacy.release import Mechanism
from common.wire.flower import Reply, Task, reply_to_records

WEIGHT = "towers.weight"
ZEROS = np.zeros((2, 3), dtype=np.float32)


def _with_update(**changes: Any) -> Callable[[Reply, Task], Reply]:
    return lambda reply, _: replace(reply, update=changes)


def _value(value: float) -> Callable[[Reply, Task], Reply]:
    return lambda reply, _: replace(reply, update={WEIGHT: np.full((2, 3), value, dtype=np.float32)})


def _with_release(**changes: Any) -> Callable[[Reply, Task], Reply]:
    return lambda reply, _: replace(reply, releases=(replace(reply.releases[0], **changes),))


def _damaged(record: str, field: str, value: str) -> Callable[[Reply, Task], RecordDict]:
    def fault(reply: Reply, _: Task) -> RecordDict:
        records = reply_to_records(reply)
        records[record] = ConfigRecord({field: value})
        return records

    return fault


def _unreadable_array(reply: Reply, _: Task) -> RecordDict:
    records = reply_to_records(reply)
    records.array_records["update"][WEIGHT].data = b"\x93NUMPY\x01\x00"
    return records


def _more_records(reply: Reply, _: Task) -> RecordDict:
    records = reply_to_records(reply)
    records["gradients"] = records.array_records["update"]
    return records


FAULTS: dict[str, tuple[Callable[[Reply, Task], Any], str]] = {
    "one number is NaN": (_value(float("nan")), "nan"),
    "one number is infinite": (_value(float("-inf")), "nan"),
    "huge norm": (_value(1e4), "norm"),
    "norm beyond float32": (_value(3e38), "norm"),
    "other names": (_with_update(other=ZEROS), "keys"),
    "one array more": (_with_update(**{WEIGHT: ZEROS, "extra": ZEROS}), "keys"),
    "no update": (lambda reply, _: replace(reply, update=None), "keys"),
    "other shape": (_with_update(**{WEIGHT: np.zeros((3, 2), dtype=np.float32)}), "shape"),
    "other type": (_with_update(**{WEIGHT: ZEROS.astype(np.float64)}), "dtype"),
    "array without a body": (_unreadable_array, "malformed"),
    "private though not agreed": (_with_release(mechanism=Mechanism.PATIENT_DP_SGD), "mechanism"),
    "no release of the update": (lambda reply, _: replace(reply, releases=()), "mechanism"),
    "another site's name": (lambda reply, _: replace(reply, site="north"), "identity"),
    "a name that nobody has": (lambda reply, _: replace(reply, site="nowhere"), "identity"),
    "statistics that are no JSON": (_damaged("statistics", "json", "{"), "malformed"),
    "statistics that are a list": (_damaged("statistics", "json", "[1]"), "malformed"),
    "statistics without their brief": (lambda reply, _: replace(reply, statistics={}), "malformed"),
    "statistics with another metric": (lambda reply, _: replace(reply, statistics={"brief": {"x": 1}}), "malformed"),
    "releases that are no list": (_damaged("releases", "json", "7"), "malformed"),
    "answer to another round": (lambda reply, _: replace(reply, round_number=reply.round_number - 1), "round"),
    "answer to another run": (lambda reply, _: replace(reply, run="00" * 32), "round"),
    "a record that nobody asked for": (_more_records, "keys"),
    "empty reply": (lambda *_: RecordDict(), "malformed"),
    "error reply": (lambda *_: "raised", "raised"),
    "silence": (lambda *_: None, "late"),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=FAULTS)
def test_bad_site_is_dropped_and_the_round_goes_on_without_it(world: Any, fault: Any, reason: str) -> None:
    state = world.run(world.transport(faults={"south": fault}))
    others = {site: band for site, band in world.bands.items() if site != "south"}
    assert state.sites["south"].drops == {reason: 3}
    assert state.sites["south"].rounds_joined == 0
    assert ("answered", "south", reason) in world.log.events
    for record in state.rounds:
        assert record["outcome"] == "updated"
        assert record["admitted"] == sorted(others)
        assert record["dropped"] == {"south": reason}
    assert all(state.sites[site].drops == {} and state.sites[site].rounds_joined == 3 for site in others)
    json.dumps(state.rounds, allow_nan=False)
    without = world.run(world.transport(bands=others), state=None)
    assert state.arrays["model"][WEIGHT].tobytes() == without.arrays["model"][WEIGHT].tobytes()


def test_fault_in_one_round_costs_one_round(world: Any) -> None:
    def second_only(reply: Reply, task: Task) -> Reply:
        return _value(np.nan)(reply, task) if task.round_number == 2 else reply

    state = world.run(world.transport(faults={"south": second_only}))
    assert [record["dropped"] for record in state.rounds] == [{}, {"south": "nan"}, {}]
    assert (state.sites["south"].rounds_joined, state.sites["south"].drops) == (2, {"nan": 1})


@pytest.mark.parametrize("change", [{"noise_multiplier": 1.9}, {"sampling_probability": 0.5}, {"steps": 2}])
def test_private_run_drops_an_update_of_another_event(world: Any, change: dict[str, float]) -> None:
    event = replace(world.privacy.event, **change)
    transport = world.transport(private=True, faults={"south": _with_release(event=event)})
    assert world.run(transport, privacy=world.privacy).sites["south"].drops == {"mechanism": 3}


def test_private_run_drops_an_update_without_privacy(world: Any) -> None:
    fault = _with_release(mechanism=Mechanism.NOT_PRIVATE, event=None)
    transport = world.transport(private=True, faults={"south": fault})
    assert world.run(transport, privacy=world.privacy).sites["south"].drops == {"mechanism": 3}


def test_second_answer_of_a_site_changes_nothing(world: Any) -> None:
    """A broken server would let it overwrite the admitted update, or count it twice."""
    twice = world.transport(order=lambda sites: [*sites, *sites])
    honest = twice.ask

    def then_damaged(task: Task, *arguments: Any, **options: Any) -> Any:
        for number, answer in enumerate(honest(task, *arguments, **options)):
            first = number < len(world.bands) or not task.train
            yield answer if first else replace(answer, reply=_value(np.nan)(answer.reply, task))

    twice.ask = then_damaged
    state, once = world.run(twice), world.run(world.transport())
    assert state.rounds[0]["dropped"] == {}
    assert state.arrays["model"][WEIGHT].tobytes() == once.arrays["model"][WEIGHT].tobytes()


def test_answer_of_a_site_that_was_not_asked_is_ignored(world: Any) -> None:
    state = world.run(world.transport(order=lambda sites: ["stranger", *sites], faults={"stranger": lambda *_: "nan"}))
    assert state.rounds[0]["admitted"] == sorted(world.bands)
    assert "stranger" not in state.sites


def test_order_of_arrival_changes_no_bit(world: Any) -> None:
    shuffle = np.random.default_rng(0)
    models = {
        world.run(world.transport(order=order)).arrays["model"][WEIGHT].tobytes()
        for order in (
            sorted,
            lambda sites: sorted(sites, reverse=True),
            *[lambda s: shuffle.permutation(s).tolist()] * 4,
        )
    }
    assert len(models) == 1


def test_updates_are_weighted_by_the_middle_of_their_band_up_to_the_cap(world: Any) -> None:
    """Middles 24, 48, 24 and 96, of which the last counts as three of the median: 24, 48, 24, 72 of 168."""
    state = world.run(world.transport(), "federation.rounds=1")
    shares = {"east": 1 / 7, "north": 2 / 7, "south": 1 / 7, "west": 3 / 7}
    assert state.rounds[0]["weights"] == pytest.approx(shares)
    expected = sum(share * world.honest_update(site, 1)[WEIGHT].astype(float) for site, share in shares.items())
    np.testing.assert_allclose(state.arrays["model"][WEIGHT], expected, atol=1e-6)
    assert state.rounds[0]["update_norm"] == pytest.approx(np.linalg.norm(expected), rel=1e-5)


def test_arrays_that_are_not_trained_stay(world: Any) -> None:
    assert world.run(world.transport()).arrays["model"]["frozen.scale"].tolist() == [1.0, 1.0]


def test_missed_quorum_leaves_the_model_and_says_so(world: Any) -> None:
    def first_only(reply: Reply, task: Task) -> Reply | None:
        return reply if task.round_number == 1 else None

    transport = world.transport(faults=dict.fromkeys(("east", "north"), first_only))
    after_one = world.run(world.transport(), "federation.rounds=1").arrays["model"][WEIGHT]
    state = world.run(transport, "federation.quorum=0.75")
    assert [record["outcome"] for record in state.rounds] == ["updated", "quorum_missed", "quorum_missed"]
    assert state.rounds[1]["weights"] == {}
    assert state.rounds[1]["update_norm"] is None
    assert state.arrays["model"][WEIGHT].tobytes() == after_one.tobytes()
    assert state.rounds_completed == 3


def test_run_that_changed_nothing_fails_after_its_last_round(world: Any) -> None:
    state = world.fresh_state(world.config())
    with pytest.raises(CheckFailed, match="no round changed the model"):
        world.run(world.transport(faults=dict.fromkeys(world.bands, lambda *_: None)), state=state)
    assert state.rounds_completed == 3
    assert world.log.events[-1] == ("committed", 3)


def test_nobody_answers_at_all(world: Any) -> None:
    with pytest.raises(CheckFailed, match="no site answered"):
        world.run(world.transport(bands={}))


def test_cohort_too_small_for_the_rule_misses_the_round_and_says_why(world: Any) -> None:
    state = world.fresh_state(world.config())
    with pytest.raises(CheckFailed):
        world.run(
            world.transport(faults={"south": lambda *_: None}),
            "aggregator.name=trimmed_mean",
            "aggregator.num_byzantine=2",
            state=state,
        )
    assert all("needs at least 5 admitted updates, there are 3" in record["outcome"] for record in state.rounds)
    assert not state.arrays["model"][WEIGHT].any()


def test_epsilon_counts_every_asked_round_even_when_dropped(world: Any) -> None:
    transport = world.transport(private=True, faults={"south": lambda *_: None})
    state = world.run(transport, privacy=world.privacy)
    assert (state.sites["south"].rounds_asked, state.sites["south"].rounds_joined) == (3, 0)
    for rounds, record in enumerate(state.rounds, start=1):
        assert record["epsilon"]["south"] == record["epsilon"]["north"]
        spent_delta = _gaussian_delta(record["epsilon"]["south"], rounds, world.privacy.event.noise_multiplier)
        assert spent_delta == pytest.approx(world.privacy.delta, rel=0.01)


def _gaussian_delta(epsilon: float, rounds: int, noise_multiplier: float) -> float:
    """Delta of `rounds` Gaussian releases of sensitivity 1 (Balle and Wang, arXiv 1805.06530, Theorem 8)."""
    mu = math.sqrt(rounds) / noise_multiplier
    normal = NormalDist().cdf
    return normal(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal(-mu / 2 - epsilon / mu)


def test_run_without_privacy_states_no_epsilon(world: Any) -> None:
    assert set(world.run(world.transport()).rounds[-1]["epsilon"].values()) == {None}


def test_last_message_only_measures(world: Any) -> None:
    transport = world.transport()
    state = world.run(transport)
    assert [(task.round_number, task.train) for task in transport.asked] == [
        (1, True),
        (2, True),
        (3, True),
        (4, False),
    ]
    assert {task.config_digest for task in transport.asked} == {state.config_digest}
    assert state.rounds[-1]["metrics"].keys() == world.bands.keys()
