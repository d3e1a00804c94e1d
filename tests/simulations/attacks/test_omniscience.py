"""Attackers see every honest update of their round, in the order of the sites, and wait for nobody for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from flwr.app import Context, Message, MessageType, RecordDict
from torch import Tensor

from common.wire.flower import UPDATE
from common.wire.flower_arrays import arrays_from_record, arrays_to_record
from simulations.attacks.crafted.interface import View
from simulations.attacks.omniscience import Board, with_omniscient
from simulations.attacks.replies import as_vector
from simulations.runtime import Handler, InProcessGrid
from tests.simulations.attacks.site import HONEST, honest, question, scene, update_of

pytestmark = pytest.mark.usefixtures("flower_runtime")

SITES, ATTACKERS = 10, 2
Seen = list[tuple[Tensor, View]]
Behave = Callable[[int, int], None]
"""What the site of a number does in its round before it answers."""


def _site(behave: Behave = lambda site, number: None) -> Handler:  # noqa: ARG005 - does nothing
    """Answers with an update that names its site and round."""

    def answer(message: Message, context: Context) -> Message:
        reply = honest(message, context)
        if message.metadata.message_type == MessageType.TRAIN:
            site, number = int(context.node_config["partition-id"]), _round_of(message)
            behave(site, number)
            reply.content[UPDATE] = arrays_to_record({name: array + site for name, array in update_of(number).items()})
        return reply

    return answer


def _round_of(message: Message) -> int:
    return int(str(message.content.config_records["task"]["round"]))


def _handlers(seen: Seen, site: Handler) -> list[Handler]:
    def craft(honest_HP: Tensor, view: View) -> Tensor:
        seen.append((honest_HP, view))
        return torch.full_like(honest_HP[0], view.round_number)

    return with_omniscient(site, scene(), craft)


def _expected(site: int, number: int) -> Tensor:
    return as_vector({name: array + site for name, array in update_of(number).items()})


def _run_round(
    handlers: Sequence[Handler],
    number: int = 1,
    *,
    ttl: float = 30.0,
    workers: int = 2,
    resting: int | None = None,
) -> list[Message]:
    grid = InProcessGrid(handlers, num_workers=workers)
    messages = []
    for site, node in enumerate(grid.get_node_ids()):
        if site == resting:
            continue
        message = question(MessageType.TRAIN, number, ttl=ttl)
        messages.append(grid.create_message(message.content, MessageType.TRAIN, node, "", ttl))
    replies = list(grid.send_and_receive(messages, timeout=ttl + 1))
    grid.close()
    return replies


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_all_attackers_see_all_honest_updates_in_the_order_of_the_sites(workers: int) -> None:
    def late_first(site: int, number: int) -> None:
        del number
        time.sleep(0.02 * (SITES - site))

    seen: Seen = []
    replies = _run_round(_handlers(seen, _site(late_first)), 3, workers=workers)
    assert len(replies) == SITES
    assert len(seen) == ATTACKERS
    for honest_HP, view in seen:
        assert torch.equal(honest_HP, torch.stack([_expected(site, 3) for site in range(SITES - ATTACKERS)]))
        assert (view.num_sites, view.num_attackers, view.round_number, view.max_norm) == (SITES, ATTACKERS, 3, 100.0)


def test_attackers_send_what_is_crafted_and_honest_sites_what_they_made() -> None:
    replies = _run_round(_handlers([], _site()), 2)
    sent = [as_vector(arrays_from_record(reply.content.array_records[UPDATE])) for reply in replies]
    crafted = torch.full((sum(array.size for array in HONEST.values()),), 2.0)
    assert sum(torch.equal(update, crafted) for update in sent) == ATTACKERS
    for site in range(SITES - ATTACKERS):
        assert sum(torch.equal(update, _expected(site, 2)) for update in sent) == 1


def test_attackers_of_one_round_draw_the_same_and_of_another_round_something_else() -> None:
    drawn: dict[int, list[float]] = {1: [], 2: []}

    def craft(honest_HP: Tensor, view: View) -> Tensor:
        drawn[view.round_number].append(float(torch.rand((), generator=view.generator)))
        return honest_HP[0]

    handlers = with_omniscient(_site(), scene(), craft)
    for number in drawn:
        _run_round(handlers, number)
    assert [len({*values}) for values in drawn.values()] == [1, 1]
    assert drawn[1] != drawn[2]


def test_site_that_raises_is_not_waited_for() -> None:
    def third_raises(site: int, number: int) -> None:
        if site == 3:
            raise RuntimeError(number)

    seen: Seen = []
    started = time.monotonic()
    _run_round(_handlers(seen, _site(third_raises)), ttl=60.0)
    assert time.monotonic() - started < 20
    kept = [_expected(site, 1) for site in range(SITES - ATTACKERS) if site != 3]
    assert all(torch.equal(honest_HP, torch.stack(kept)) for honest_HP, _ in seen)
    assert len(seen) == ATTACKERS


def test_site_that_hangs_is_waited_for_less_than_the_time_to_live() -> None:
    released = threading.Event()

    def third_hangs(site: int, number: int) -> None:
        del number
        if site == 3:
            released.wait(30)

    seen: Seen = []
    replies = _run_round(_handlers(seen, _site(third_hangs)), ttl=2.0, workers=3)
    released.set()
    assert len(replies) == SITES - 1
    assert [len(honest_HP) for honest_HP, _ in seen] == [SITES - ATTACKERS - 1] * ATTACKERS


def test_site_that_was_not_asked_is_not_waited_for() -> None:
    seen: Seen = []
    handlers = _handlers(seen, _site())
    started = time.monotonic()
    _run_round(handlers, ttl=60.0, resting=3)
    assert time.monotonic() - started < 20
    asked = [_expected(site, 1) for site in range(SITES - ATTACKERS) if site != 3]
    assert [torch.equal(honest_HP, torch.stack(asked)) for honest_HP, _ in seen] == [True] * ATTACKERS


def test_attackers_without_anything_to_see_send_their_own() -> None:
    def all_raise(site: int, number: int) -> None:
        if site < SITES - ATTACKERS:
            raise RuntimeError(number)

    seen: Seen = []
    replies = _run_round(_handlers(seen, _site(all_raise)))
    updates = [
        as_vector(arrays_from_record(reply.content.array_records[UPDATE])) for reply in replies if reply.has_content()
    ]
    assert not seen
    assert sorted(float(update.sum()) for update in updates) == sorted(
        float(_expected(site, 1).sum()) for site in range(SITES - ATTACKERS, SITES)
    )


def test_late_post_of_a_round_that_is_over_changes_nothing() -> None:
    board = Board(2)
    for site in (1, 0):
        board.post(torch.tensor([float(site)]), site=site, round_number=2)
    board.post(torch.tensor([9.0]), site=0, round_number=1)
    assert [float(update) for update in board.read(round_number=2, until=0)] == [0.0, 1.0]
    assert board.read(round_number=1, until=time.time() + 60) == []


def test_reader_of_a_round_is_let_go_when_the_next_begins() -> None:
    board, found = Board(2), list[Any]()
    board.begin(site=1, round_number=1)
    reader = threading.Thread(
        target=lambda: found.append(board.read(round_number=1, until=time.time() + 60)), daemon=True
    )
    reader.start()
    board.post(torch.zeros(1), site=0, round_number=2)
    reader.join(timeout=20)
    assert found == [[]]


def test_hello_is_not_a_round() -> None:
    handlers = _handlers([], _site())
    context = Context(0, 2, {"partition-id": 0}, RecordDict(), {})
    for handler in (handlers[0], handlers[-1]):
        assert handler(question(MessageType.QUERY), context) is not None
