"""The rule, the optimizer and the memory between them: what a round makes of what was admitted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.config.load import config_digest
from common.errors import AggregationError, CheckFailed, ConfigError
from common.wire.flower import Reply, Task
from server import stepper
from server.checkpoint import load_state
from strategies.interface import Aggregate, Aggregator, State

WEIGHT = "towers.weight"


def first_update_again(world: Any) -> Callable[[Reply, Task], Reply]:
    """From round two on, the site sends its update of round one."""
    return lambda reply, _: replace(reply, update=world.honest_update("south", 1))


def test_replayed_update_is_refused_in_every_later_round(world: Any) -> None:
    state = world.run(world.transport(faults={"south": first_update_again(world)}))
    assert [record["dropped"] for record in state.rounds] == [{}, {"south": "replay"}, {"south": "replay"}]
    assert (state.sites["south"].rounds_joined, state.sites["south"].drops) == (1, {"replay": 2})


def test_replay_is_known_after_a_resume(world: Any) -> None:
    faults = {"south": first_update_again(world)}
    with pytest.raises(KeyboardInterrupt):
        world.run(world.transport(faults=faults, stop_before=2))
    state = load_state(world.folder, config_digest=config_digest(world.config()))
    assert len(state.sites["south"].fingerprints) == 1
    resumed = world.run(world.transport(faults=faults), state=state)
    assert resumed.sites["south"].drops == {"replay": 2}


def test_update_of_another_site_is_no_replay(world: Any) -> None:
    """Two honest sites may agree, and a copier is for the robust rule."""
    copier = world.transport(
        faults={"south": lambda r, t: replace(r, update=world.honest_update("north", t.round_number))}
    )
    assert world.run(copier).sites["south"].drops == {}


def test_zero_update_may_come_in_every_round(world: Any) -> None:
    zeros = {WEIGHT: np.zeros((2, 3), dtype=np.float32)}
    state = world.run(world.transport(faults={"south": lambda reply, _: replace(reply, update=zeros)}))
    assert (state.sites["south"].drops, state.sites["south"].fingerprints) == ({}, [])


def test_update_that_moved_nothing_may_come_again(world: Any) -> None:
    """The quorum is missed, the model stays, and a site without chance comes to the same update: no replay."""

    def absent_in_round_one(reply: Reply, task: Task) -> Reply | None:
        return reply if task.round_number > 1 else None

    faults = dict.fromkeys(("east", "north", "west"), absent_in_round_one)
    state = world.run(world.transport(faults=faults | {"south": first_update_again(world)}))
    assert [record["outcome"] for record in state.rounds] == ["quorum_missed", "updated", "updated"]
    assert state.sites["south"].drops == {"replay": 1}


@dataclass(frozen=True)
class Remembering:
    """A rule whose state is the first update, as it lies in the caller's memory."""

    def init(self) -> State:
        """Nothing yet."""
        return {"kept": torch.zeros(6), "rounds": torch.zeros(1)}

    def aggregate(
        self,
        updates_SP: Tensor,
        weights_S: Tensor,
        state: State,
        *,
        scales_S: Tensor | None = None,  # noqa: ARG002 - of `Aggregator`
    ) -> Aggregate:
        """See `Aggregator`."""
        state = {"kept": updates_SP[0], "rounds": state["rounds"] + 1}
        return Aggregate(updates_SP[0], weights_S / weights_S.sum(), state)

    def max_byzantine(self, num_sites: int) -> int:
        """None."""
        return 0 * num_sites


@dataclass(frozen=True)
class Refusing(Remembering):
    """A rule that the cohort is too small for."""

    def aggregate(
        self,
        updates_SP: Tensor,
        weights_S: Tensor,  # noqa: ARG002 - of `Aggregator`
        state: State,  # noqa: ARG002 - of `Aggregator`
        *,
        scales_S: Tensor | None = None,  # noqa: ARG002 - of `Aggregator`
    ) -> Aggregate:
        """See `Aggregator`."""
        raise AggregationError(f"{len(updates_SP)} updates: this rule needs 5 for num_byzantine=2")


@dataclass(frozen=True)
class Dividing(Remembering):
    """A rule that divides by zero."""

    def aggregate(
        self,
        updates_SP: Tensor,
        weights_S: Tensor,
        state: State,  # noqa: ARG002 - of `Aggregator`
        *,
        scales_S: Tensor | None = None,  # noqa: ARG002 - of `Aggregator`
    ) -> Aggregate:
        """See `Aggregator`."""
        return Aggregate(updates_SP[0] / 0, weights_S / weights_S.sum(), {"kept": updates_SP[0] / 0})


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Aggregator], None]:
    return lambda rule: monkeypatch.setattr(stepper, "build_aggregator", lambda *_, **__: rule)


def test_rules_state_is_its_own_whatever_memory_the_rule_returned(world: Any, use: Any) -> None:
    """The next round writes over the block of updates; a state that still lay in it would change with it."""
    use(Remembering())
    seen = []
    announce = world.log.round_committed

    def committed(state: Any) -> None:
        seen.append(state.arrays["aggregator"]["kept"])
        announce(state)

    world.log.round_committed = committed
    state = world.run(world.transport())
    for number, kept in enumerate(seen[:3], start=1):
        np.testing.assert_array_equal(kept, world.honest_update("east", number)[WEIGHT].ravel())
    assert state.arrays["aggregator"]["rounds"].tolist() == [3]


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [(Refusing(), "4 updates: this rule needs 5"), (Dividing(), "the aggregated update is not finite")],
)
def test_round_that_the_rule_cannot_aggregate_leaves_everything_and_says_so(
    world: Any, use: Any, rule: Aggregator, outcome: str
) -> None:
    use(rule)
    state = world.fresh_state(world.config())
    with pytest.raises(CheckFailed, match="no round changed the model"):
        world.run(world.transport(), state=state)
    assert state.rounds_completed == 3
    for record in state.rounds:
        assert outcome in record["outcome"]
        assert (record["update_norm"], record["weights"]) == (None, {})
        assert record["admitted"] == sorted(world.bands)
    json.dumps(state.rounds, allow_nan=False)
    assert not state.arrays["model"][WEIGHT].any()
    assert state.arrays["aggregator"] == state.arrays["optimizer"] == {}
    assert all(site.fingerprints == [] and site.rounds_joined == 3 for site in state.sites.values())


def test_site_that_joins_after_a_resume_gets_its_own_weight_and_row(world: Any) -> None:
    """`middle` is last in the order of joining and in the midst of the names' order, where updates are aggregated."""
    bands = {"east": "16-31", "west": "64-127", "north": "32-63"}
    with pytest.raises(KeyboardInterrupt):
        world.run(world.transport(bands=bands, stop_before=2), "federation.rounds=2")
    state = load_state(world.folder, config_digest=config_digest(world.config("federation.rounds=2")))
    before = state.arrays["model"][WEIGHT].astype(float)
    resumed = world.run(world.transport(bands=bands | {"middle": "16-31"}), "federation.rounds=2", state=state)
    shares = {"east": 24 / 168, "middle": 24 / 168, "north": 48 / 168, "west": 72 / 168}
    assert resumed.rounds[1]["weights"] == pytest.approx(shares)
    step = sum(share * world.honest_update(site, 2)[WEIGHT].astype(float) for site, share in shares.items())
    np.testing.assert_allclose(resumed.arrays["model"][WEIGHT], before + step, atol=1e-6)


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi"])
def test_resumed_optimizer_ends_in_the_same_bits(world: Any, name: str) -> None:
    options = (f"server_optimizer.name={name}", "server_optimizer.momentum=0.9", "server_optimizer.learning_rate=0.1")
    whole = world.run(world.transport(), *options)
    with pytest.raises(KeyboardInterrupt):
        world.run(world.transport(stop_before=3), *options)
    state = load_state(world.folder, config_digest=config_digest(world.config(*options)))
    resumed = world.run(world.transport(), *options, state=state)
    for kind in ("model", "optimizer"):
        arrays = whole.arrays[kind]
        assert {key: array.tobytes() for key, array in arrays.items()} == {
            key: array.tobytes() for key, array in resumed.arrays[kind].items()
        }


def test_array_of_whole_numbers_among_the_trained_is_refused_before_any_site_is_asked(world: Any) -> None:
    transport, state = world.transport(), world.fresh_state(world.config())
    state.arrays["model"][WEIGHT] = np.zeros((2, 3), dtype=np.int64)
    with pytest.raises(ConfigError, match=r"towers\.weight is int64: only float32 is trained"):
        world.run(transport, state=state)
    assert transport.asked == []


@pytest.mark.parametrize(("epsilon", "scaled"), [("8", True), ("null", False)])
def test_updates_with_noise_are_scaled_up_to_the_median_and_others_are_not(
    world: Any, epsilon: str, *, scaled: bool
) -> None:
    """Middles 24, 48, 96 and 192: the lower median is 48, and 24 is scaled by half of what the others are."""
    bands = {"east": "16-31", "north": "32-63", "south": "64-127", "west": "128-255"}
    rule = ("aggregator.name=median", f"privacy.epsilon={epsilon}", "federation.rounds=1")
    privacy = world.privacy if scaled else None
    state = world.run(world.transport(private=scaled, bands=bands), *rule, privacy=privacy)
    scales = {"east": 24 / 42, "north": 48 / 42, "south": 48 / 42, "west": 48 / 42}
    updates = [world.honest_update(site, 1)[WEIGHT] * (scale if scaled else 1) for site, scale in scales.items()]
    np.testing.assert_allclose(state.arrays["model"][WEIGHT], np.median(updates, axis=0), rtol=1e-5)
