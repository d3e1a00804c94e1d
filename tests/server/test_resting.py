"""A site that hardly counts is asked no more, nor charged; and nobody else pays for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from common.config.load import config_digest
from common.wire.flower import Reply, Task
from server.checkpoint import SiteHistory, load_state
from server.resting import note_weights, resting

WEIGHT = "towers.weight"
RULE = ("aggregator.name=nnm+trimmed_mean", "aggregator.num_byzantine=1", "federation.rounds=6")
NEAR = ("east", "north", "west")
EQUAL = dict.fromkeys(("east", "north", "south", "west"), "32-63")


def _far(reply: Reply, task: Task) -> Reply:
    """An update that no other is near to, another in each round."""
    value = np.full((2, 3), 10.0 + task.round_number, dtype=np.float32)
    return replace(reply, update={WEIGHT: value})


def _near(reply: Reply, task: Task) -> Reply:
    return replace(reply, update={WEIGHT: 1 + 0.01 * reply.update[WEIGHT]}) if reply.update and task.train else reply


FAULTS = {**dict.fromkeys(NEAR, _near), "south": _far}


def _transport(world: Any, **fields: Any) -> Any:
    return world.transport(**{"bands": EQUAL, "faults": FAULTS, "private": True, **fields})


def test_site_that_counts_for_nothing_three_times_is_asked_and_charged_no_more(world: Any) -> None:
    state = world.run(_transport(world), *RULE, privacy=world.privacy)
    assert [record["asked"] for record in state.rounds] == [sorted(EQUAL)] * 3 + [list(NEAR)] * 3
    assert [record["to_rest"] for record in state.rounds] == [[], [], ["south"], [], [], []]
    south = state.sites["south"]
    assert (south.rounds_asked, south.rests_from, south.low_rounds) == (3, 4, [1, 2, 3])
    assert all(state.sites[site].rounds_asked == 6 for site in NEAR)
    spent = [record["epsilon"]["south"] for record in state.rounds]
    assert spent[3:] == [spent[2]] * 3
    assert all(before < after for before, after in pairwise(record["epsilon"]["north"] for record in state.rounds))


def test_site_at_rest_is_still_asked_what_the_final_model_finds(world: Any) -> None:
    state = world.run(_transport(world), *RULE, privacy=world.privacy)
    assert world.log.events[-6] == ("opened", 7, tuple(EQUAL))
    assert state.rounds[-1]["metrics"].keys() == EQUAL.keys()


@pytest.mark.parametrize("before", [3, 4, 5, 6])
def test_run_that_is_resumed_asks_the_same_sites_and_ends_in_the_same_bits(world: Any, before: int) -> None:
    whole = world.run(_transport(world), *RULE, privacy=world.privacy)
    with pytest.raises(KeyboardInterrupt):
        world.run(_transport(world, stop_before=before), *RULE, privacy=world.privacy)
    state = load_state(world.folder, config_digest=config_digest(world.config(*RULE)))
    resumed = world.run(_transport(world), *RULE, privacy=world.privacy, state=state)
    assert [record["asked"] for record in resumed.rounds] == [record["asked"] for record in whole.rounds]
    assert resumed.arrays["model"][WEIGHT].tobytes() == whole.arrays["model"][WEIGHT].tobytes()
    assert resumed.sites["south"].rests_from == 4


@pytest.mark.parametrize("keeps", ["federation.quorum=1.0", "aggregator.num_byzantine=0", "federation.rounds=3"])
def test_site_stays_where_the_rest_would_be_too_few_or_the_rule_bears_nobody(world: Any, keeps: str) -> None:
    state = world.run(_transport(world), *RULE, keeps, privacy=world.privacy)
    assert not resting(state.sites)
    assert all(record["asked"] == sorted(EQUAL) for record in state.rounds)


def test_site_stays_where_the_rule_needs_all_of_them(world: Any) -> None:
    bands = {site: EQUAL[site] for site in ("east", "north", "south")}
    state = world.run(_transport(world, bands=bands), *RULE, privacy=world.privacy)
    assert state.sites["south"].low_rounds == [1, 2, 3, 4, 5, 6]
    assert not resting(state.sites)


def test_site_at_rest_does_not_stand_in_for_one_that_is_needed(world: Any) -> None:
    """Of four, two must be there; in round 4 there is one beside `south`, which is not asked."""
    transport = _transport(world, here={4: 2})
    with pytest.raises(Exception, match="round 4 needs 2 hospitals and 1 came"):
        world.run(transport, *RULE, privacy=world.privacy)


def _noted(weights: list[Mapping[str, float]], *, bands: Mapping[str, str], most: int) -> dict[str, SiteHistory]:
    sites = {site: SiteHistory(band) for site, band in bands.items()}
    for number, found in enumerate(weights, start=1):
        note_weights(sites, found, round_number=number, most=most)
    return sites


def test_one_round_above_half_of_its_share_begins_the_count_anew() -> None:
    low, high = {"a": 0.1, "b": 0.3, "c": 0.3, "d": 0.3}, {"a": 0.13, "b": 0.29, "c": 0.29, "d": 0.29}
    bands = dict.fromkeys(low, "32-63")
    assert not resting(_noted([low, low, high, low, low], bands=bands, most=1))
    assert resting(_noted([low, low, high, low, low, low], bands=bands, most=1)) == {"a"}


def test_round_without_the_site_neither_counts_nor_begins_anew() -> None:
    low, without = {"a": 0.1, "b": 0.3, "c": 0.3, "d": 0.3}, {"b": 0.3, "c": 0.3, "d": 0.4}
    bands = dict.fromkeys(low, "32-63")
    sites = _noted([low, without, low, {}, low], bands=bands, most=1)
    assert (sites["a"].low_rounds, sites["a"].rests_from) == ([1, 3, 5], 6)


def test_share_is_the_lesser_of_an_equal_one_and_the_bands() -> None:
    """Middles 24, 96, 96, 96: by patients `a` has 7.7%, so that 5% is more than half of it; 3% is not."""
    bands = {"a": "16-31", "b": "64-127", "c": "64-127", "d": "64-127"}
    others = dict.fromkeys("bcd", 0.31)
    assert not resting(_noted([{"a": 0.05, **others}] * 9, bands=bands, most=1))
    assert resting(_noted([{"a": 0.03, **others}] * 3, bands=bands, most=1)) == {"a"}
    # A large site that counts like the others has its share, though its patients would give it more.
    bands = {"a": "16-31", "b": "16-31", "c": "16-31", "d": "512-1023"}
    assert not resting(_noted([dict.fromkeys("abcd", 0.25)] * 9, bands=bands, most=1))


def test_no_more_sites_rest_than_the_rule_bears_and_the_least_come_first() -> None:
    """Without a bound all of the low ones would go, and a rule that leaves out the farthest would empty the cohort."""
    low = {"a": 0.1, "b": 0.05, "c": 0.0, "d": 0.05, "e": 0.4, "f": 0.4}
    bands = dict.fromkeys(low, "32-63")
    assert resting(_noted([low] * 9, bands=bands, most=1)) == {"c"}
    assert resting(_noted([low] * 3, bands=bands, most=2)) == {"c", "b"}
    assert not resting(_noted([low] * 9, bands=bands, most=0))
