"""Sites that come, go and come back between rounds: who is asked, what counts, and what it costs them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.config.load import config_digest
from common.errors import CheckFailed
from server.checkpoint import load_state

WEIGHT = "towers.weight"
FIRST = {"east": "16-31", "west": "64-127", "north": "32-63"}
ALONE = {"middle": "16-31"}


def test_site_that_comes_before_a_round_gets_its_own_weight_and_row(world: Any) -> None:
    """`middle` is last in the order of joining and in the midst of the names' order, where updates are aggregated."""
    state = world.run(world.transport(bands=FIRST, later={2: ALONE}), "federation.rounds=2")
    assert [record["asked"] for record in state.rounds] == [sorted(FIRST), [*sorted(FIRST), "middle"]]
    shares = {"east": 24 / 168, "middle": 24 / 168, "north": 48 / 168, "west": 72 / 168}
    assert state.rounds[1]["weights"] == pytest.approx(shares)
    before = world.run(world.transport(bands=FIRST), "federation.rounds=1").arrays["model"][WEIGHT].astype(float)
    step = sum(share * world.honest_update(site, 2)[WEIGHT].astype(float) for site, share in shares.items())
    np.testing.assert_allclose(state.arrays["model"][WEIGHT], before + step, atol=1e-6)
    assert (state.sites["middle"].rounds_asked, state.sites["middle"].rounds_joined) == (1, 1)


def test_site_that_comes_is_on_the_disk_before_it_is_charged(world: Any) -> None:
    transport = world.transport(bands=FIRST, later={2: ALONE}, stop_before=2)
    with pytest.raises(KeyboardInterrupt):
        world.run(transport)
    state = load_state(world.folder, config_digest=config_digest(world.config()))
    assert state.sites["middle"].patients_band == "16-31"
    assert state.sites["middle"].rounds_asked == 1


def test_site_that_comes_before_the_last_measurement_is_measured(world: Any) -> None:
    state = world.run(world.transport(bands=FIRST, later={4: ALONE}))
    assert "middle" in state.rounds[-1]["metrics"]
    assert state.sites["middle"].rounds_asked == 0


def test_site_that_comes_back_keeps_its_history_and_its_band(world: Any) -> None:
    faults = {"north": lambda reply, task: None if task.round_number == 1 else reply}
    transport = world.transport(bands=FIRST, faults=faults, later={2: {"north": "64-127"}})
    state = world.run(transport)
    assert (state.sites["north"].patients_band, state.sites["north"].drops) == ("32-63", {"late": 1})
    assert state.sites["north"].rounds_joined == 2


@pytest.mark.parametrize(
    ("reason", "charged"), [("offline", 2), ("bundle", 2), ("lost", 3), ("late", 3), ("evidence", 3)]
)
def test_only_a_site_that_cannot_have_trained_is_not_charged(world: Any, reason: str, charged: int) -> None:
    def fault(reply: Any, task: Any) -> Any:
        if task.round_number != 2:
            return reply
        return None if reason == "late" else reason

    transport = world.transport(private=True, faults={"south": fault})
    state = world.run(transport, privacy=world.privacy)
    assert state.rounds[1]["dropped"] == {"south": reason}
    assert state.sites["south"].rounds_asked == charged


@pytest.mark.parametrize(("quorum", "needed"), [(0.5, 2), (0.75, 3), (1.0, 4)])
def test_quorum_is_waited_for_before_each_round_and_the_measurement(world: Any, quorum: float, needed: int) -> None:
    transport = world.transport()
    world.run(transport, f"federation.quorum={quorum}")
    assert transport.awaited == [needed] * 4


def test_run_that_too_few_came_to_asks_and_charges_nobody_and_can_be_resumed(world: Any) -> None:
    transport = world.transport(private=True, here={2: 1})
    with pytest.raises(CheckFailed, match=r"round 2 needs 2 hospitals and 1 came within federation\.patience_hours"):
        world.run(transport, "federation.quorum=0.5", privacy=world.privacy)
    assert [task.round_number for task in transport.asked] == [1]
    state = load_state(world.folder, config_digest=config_digest(world.config("federation.quorum=0.5")))
    assert [record["outcome"] for record in state.rounds] == ["updated"]
    assert {history.rounds_asked for history in state.sites.values()} == {1}
    back = world.transport(private=True)
    world.run(back, "federation.quorum=0.5", privacy=world.privacy, state=state)
    assert [task.round_number for task in back.asked] == [2, 3, 4]


def test_quorum_is_a_share_of_all_that_the_run_counts_on(world: Any) -> None:
    transport = world.transport()
    with pytest.raises(CheckFailed, match="round 1 needs 10 hospitals and 4 came"):
        world.run(transport, "federation.quorum=0.5", least_sites=20)
    assert transport.asked == []


def test_later_sites_change_no_bit_of_a_run_that_was_cut_short_and_resumed(world: Any) -> None:
    whole = world.run(world.transport(bands=FIRST, later={2: ALONE}))
    with pytest.raises(KeyboardInterrupt):
        world.run(world.transport(bands=FIRST, later={2: ALONE}, stop_before=3))
    state = load_state(world.folder, config_digest=config_digest(world.config()))
    resumed = world.run(world.transport(bands={**FIRST, **ALONE}), state=state)
    assert resumed.arrays["model"][WEIGHT].tobytes() == whole.arrays["model"][WEIGHT].tobytes()
    for name, history in whole.sites.items():
        assert resumed.sites[name] == replace(history, rounds_asked=history.rounds_asked + 1)


def test_new_run_waits_for_all_it_is_told_of_and_a_resumed_one_for_a_quorum(world: Any) -> None:
    new = world.transport(stop_before=2)
    with pytest.raises(KeyboardInterrupt):
        world.run(new, least_sites=4)
    state = load_state(world.folder, config_digest=config_digest(world.config()))
    resumed = world.transport()
    world.run(resumed, state=state, least_sites=4)
    assert (new.met, resumed.met) == ([4], [2])


def test_site_that_comes_once_the_round_is_opened_is_not_asked(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's entry does not name it, so that it would refuse what it is asked."""
    transport = world.transport(private=True)
    gone = iter([("south",), (), (), ()])

    def present(sites: tuple[str, ...]) -> tuple[str, ...]:
        away = next(gone)
        return tuple(site for site in sites if site not in away)

    asked: list[tuple[str, ...]] = []

    def ask(*arguments: Any, sites: tuple[str, ...], **options: Any) -> Any:
        asked.append(sites)
        return type(transport).ask(transport, *arguments, sites=sites, **options)

    monkeypatch.setattr(transport, "present", present)
    monkeypatch.setattr(transport, "ask", ask)
    state = world.run(transport, privacy=world.privacy)
    assert ["south" in sites for sites in asked] == [False, True, True, True]
    assert state.rounds[0]["dropped"] == {"south": "offline"}
    assert (state.sites["south"].rounds_asked, state.sites["south"].rounds_joined) == (2, 2)
