"""The in-process runtime: Flower's grid contract, and that no site can hold up another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest
from flwr.app import ConfigRecord, Context, Error, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from simulations.runtime import FIRST_NODE, RAISED, Handler, InProcessGrid, run_in_process

pytestmark = pytest.mark.usefixtures("flower_runtime")

OpenGrid = Callable[..., InProcessGrid]


@pytest.fixture
def open_grid() -> Iterator[OpenGrid]:
    grids: list[InProcessGrid] = []

    def build(handlers: Sequence[Handler], *, num_workers: int = 2) -> InProcessGrid:
        grids.append(InProcessGrid(handlers, num_workers=num_workers))
        return grids[-1]

    yield build
    for grid in grids:
        grid.close()


def echo(message: Message, context: Context) -> Message:
    """Says which partition answered, and what it was asked."""
    answer = {"partition": int(context.node_config["partition-id"]), "asked": _number(message)}
    return Message(RecordDict({"answer": ConfigRecord(answer)}), reply_to=message)


def silent(*_: object) -> None:
    """Never answers."""


def ask(node: int, number: int = 0, *, ttl: float = 30.0) -> Message:
    return Message(RecordDict({"question": ConfigRecord({"number": number})}), node, MessageType.TRAIN, ttl=ttl)


def _number(message: Message) -> int:
    return int(str(message.content.config_records["question"]["number"]))


def _answers(replies: Iterable[Message]) -> list[tuple[int, int]]:
    found = [reply.content.config_records["answer"] for reply in replies]
    return sorted((int(str(answer["partition"])), int(str(answer["asked"]))) for answer in found)


def _collect(grid: Grid, ids: Iterable[str], *, seconds: float) -> list[Message]:
    deadline, waiting, replies = time.monotonic() + seconds, list(ids), []
    while len(replies) < len(waiting) and time.monotonic() < deadline:
        replies += grid.pull_messages(waiting)
    return replies


def test_eight_sites_answer_over_five_rounds(open_grid: OpenGrid) -> None:
    grid = open_grid([echo] * 8)
    nodes = list(grid.get_node_ids())
    assert nodes == [FIRST_NODE + position for position in range(8)]
    for round_number in range(5):
        replies = grid.send_and_receive([ask(node, round_number) for node in nodes], timeout=10)
        assert _answers(replies) == [(position, round_number) for position in range(8)]


def test_each_reply_is_pulled_once_and_names_its_message(open_grid: OpenGrid) -> None:
    grid = open_grid([echo, echo])
    ids = list(grid.push_messages([ask(FIRST_NODE, 1), ask(FIRST_NODE + 1, 2)]))
    assert len(set(ids)) == 2
    replies = _collect(grid, ids, seconds=10)
    assert {reply.metadata.reply_to_message_id for reply in replies} == set(ids)
    assert list(grid.pull_messages(ids)) == []


def test_only_the_replies_that_are_asked_for_are_pulled(open_grid: OpenGrid) -> None:
    grid = open_grid([echo, echo])
    first, second = grid.push_messages([ask(FIRST_NODE, 1), ask(FIRST_NODE + 1, 2)])
    assert _answers(_collect(grid, [second], seconds=10)) == [(1, 2)]
    assert _answers(_collect(grid, [first], seconds=10)) == [(0, 1)]


def test_messages_that_nobody_sent_have_no_replies(open_grid: OpenGrid) -> None:
    assert list(open_grid([echo]).pull_messages(["17"])) == []


def test_send_and_receive_returns_what_came_within_its_timeout(open_grid: OpenGrid) -> None:
    grid = open_grid([silent, echo])
    started = time.monotonic()
    replies = grid.send_and_receive([ask(FIRST_NODE), ask(FIRST_NODE + 1)], timeout=0.3)
    assert _answers(replies) == [(1, 0)]
    assert 0.3 <= time.monotonic() - started < 2.0


def test_send_and_receive_without_a_timeout_waits_for_all(open_grid: OpenGrid) -> None:
    def slow(message: Message, context: Context) -> Message:
        time.sleep(0.2)
        return echo(message, context)

    replies = open_grid([slow, slow], num_workers=1).send_and_receive([ask(FIRST_NODE), ask(FIRST_NODE + 1)])
    assert _answers(replies) == [(0, 0), (1, 0)]


def test_site_that_raises_becomes_an_error_reply_without_its_text(open_grid: OpenGrid) -> None:
    def raising(*_: object) -> Message:
        raise RuntimeError("patient-name John Doe")

    grid = open_grid([raising, echo], num_workers=1)
    replies = {reply.metadata.src_node_id: reply for reply in grid.send_and_receive([ask(2), ask(3)], timeout=10)}
    assert replies[2].has_error()
    assert (replies[2].error.code, replies[2].error.reason) == (RAISED, "raised")
    assert "John Doe" not in str(replies[2])
    assert not replies[3].has_error()


def test_stuck_site_is_replaced_and_later_messages_are_answered(open_grid: OpenGrid) -> None:
    """With one worker, a stuck site would hold up every other one for ever."""
    release, answered = threading.Event(), []

    def stuck(message: Message, context: Context) -> Message:
        release.wait()
        answered.append(message)
        return echo(message, context)

    grid = open_grid([stuck, echo], num_workers=1)
    stuck_id, late_id = grid.push_messages([ask(FIRST_NODE, ttl=0.5), ask(FIRST_NODE + 1, 7)])
    assert _answers(_collect(grid, [late_id], seconds=10)) == [(1, 7)]
    release.set()
    for _ in range(100):
        if answered:
            break
        time.sleep(0.01)
    assert list(grid.pull_messages([stuck_id])) == []
    assert _answers(grid.send_and_receive([ask(FIRST_NODE + 1, 8)], timeout=10)) == [(1, 8)]


def test_message_that_is_out_of_time_before_a_worker_is_free_is_not_answered(open_grid: OpenGrid) -> None:
    seen = []

    def slow(message: Message, context: Context) -> Message:
        seen.append(_number(message))
        time.sleep(0.3)
        return echo(message, context)

    grid = open_grid([slow, slow, slow], num_workers=1)
    ids = list(grid.push_messages([ask(2, 1), ask(3, 2, ttl=0.1), ask(4, 3)]))
    assert _answers(_collect(grid, [ids[0], ids[2]], seconds=10)) == [(0, 1), (2, 3)]
    assert seen == [1, 3]


def test_grid_can_be_used_after_many_silent_sites(open_grid: OpenGrid) -> None:
    grid = open_grid([silent] * 6 + [echo])
    grid.send_and_receive([ask(FIRST_NODE + position, ttl=0.1) for position in range(6)], timeout=0.2)
    assert _answers(grid.send_and_receive([ask(FIRST_NODE + 6, 5)], timeout=10)) == [(6, 5)]


def test_server_app_runs_against_the_sites() -> None:
    app, found = ServerApp(), []

    @app.main()
    def main(grid: Grid, _: Context) -> None:
        found.extend(grid.send_and_receive([ask(node) for node in grid.get_node_ids()], timeout=10))

    run_in_process(app, [echo] * 3, num_workers=2)
    assert _answers(found) == [(0, 0), (1, 0), (2, 0)]


def test_workers_end_with_the_run_even_where_the_server_raises() -> None:
    app = ServerApp()

    @app.main()
    def main(*_: object) -> None:
        raise LookupError("stop")

    before = threading.active_count()
    with pytest.raises(LookupError):
        run_in_process(app, [echo], num_workers=3)
    for _ in range(200):
        if threading.active_count() <= before:
            break
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_error_replies_pass_as_they_are(open_grid: OpenGrid) -> None:
    grid = open_grid([lambda message, _: Message(Error(9, "budget"), reply_to=message)])
    (reply,) = grid.send_and_receive([ask(FIRST_NODE)], timeout=10)
    assert (reply.error.code, reply.error.reason) == (9, "budget")
