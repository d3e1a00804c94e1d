"""A run that dies between rounds goes on from its checkpoint to the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.config.load import config_digest
from server.checkpoint import RunState, load_state

ROUNDS = "federation.rounds=5"
MOMENTUM = ("server_optimizer.name=fedavgm", "server_optimizer.momentum=0.9")
WEIGHT = "towers.weight"


def _stopped(world: Any, *, before: int, **fields: Any) -> RunState:
    """The state on the disk of a run whose process died before a round was asked."""
    with pytest.raises(KeyboardInterrupt):
        world.run(world.transport(stop_before=before, **fields), ROUNDS, *MOMENTUM)
    return load_state(world.folder, config_digest=config_digest(world.config(ROUNDS, *MOMENTUM)))


@pytest.mark.parametrize("before", [2, 3, 5, 6])
def test_resumed_run_ends_in_the_same_bits(world: Any, before: int) -> None:
    whole = world.run(world.transport(), ROUNDS, *MOMENTUM)
    state = _stopped(world, before=before)
    assert state.rounds_completed == before - 1
    resumed = world.run(world.transport(), ROUNDS, *MOMENTUM, state=state)
    assert resumed.arrays["model"][WEIGHT].tobytes() == whole.arrays["model"][WEIGHT].tobytes()
    assert resumed.arrays["optimizer"]["momentum"].tobytes() == whole.arrays["optimizer"]["momentum"].tobytes()
    # The round that was cut short counts as spent at every site: its noise may have been drawn.
    for name, history in whole.sites.items():
        cut_short = before <= 5
        assert resumed.sites[name] == replace(history, rounds_asked=history.rounds_asked + cut_short)
    assert [record["round"] for record in resumed.rounds] == [1, 2, 3, 4, 5]


def test_momentum_is_what_carries_the_equality(world: Any) -> None:
    """The control: a server that lost its momentum would end elsewhere."""
    whole = world.run(world.transport(), ROUNDS, *MOMENTUM)
    state = _stopped(world, before=3)
    state.arrays["optimizer"]["momentum"][:] = 0
    resumed = world.run(world.transport(), ROUNDS, *MOMENTUM, state=state)
    assert resumed.arrays["model"][WEIGHT].tobytes() != whole.arrays["model"][WEIGHT].tobytes()


def test_rounds_that_are_done_are_not_asked_again(world: Any) -> None:
    state = _stopped(world, before=4)
    transport = world.transport()
    world.run(transport, ROUNDS, *MOMENTUM, state=state)
    assert [task.round_number for task in transport.asked] == [4, 5, 6]


def test_resumed_run_keeps_the_history_of_its_sites(world: Any) -> None:
    faults = {"south": lambda *_: "nan"}
    state = _stopped(world, before=3, faults=faults)
    resumed = world.run(world.transport(), ROUNDS, *MOMENTUM, state=state)
    assert resumed.sites["south"].drops == {"nan": 2}
    assert (resumed.sites["south"].rounds_asked, resumed.sites["south"].rounds_joined) == (6, 3)


def test_site_that_is_gone_after_the_resume_is_late_and_still_counts(world: Any) -> None:
    state = _stopped(world, before=3)
    bands = {site: band for site, band in world.bands.items() if site != "south"}
    transport = world.transport(bands=bands, faults={"south": lambda *_: None})
    resumed = world.run(transport, ROUNDS, *MOMENTUM, state=state)
    assert resumed.sites["south"].drops == {"late": 3}
    assert resumed.sites["south"].rounds_asked == 6


def test_every_round_is_on_the_disk_before_it_is_announced(world: Any) -> None:
    digest = config_digest(world.config(ROUNDS, *MOMENTUM))
    on_disk = []
    announce = world.log.round_committed

    def committed(state: RunState) -> None:
        on_disk.append(load_state(world.folder, config_digest=digest).rounds_completed)
        announce(state)

    world.log.round_committed = committed
    world.run(world.transport(), ROUNDS, *MOMENTUM)
    assert on_disk == [1, 2, 3, 4, 5, 5]
