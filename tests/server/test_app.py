"""The mailbox over Flower's grid: names, reason codes, the deadline, and replies matched by what they answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from flwr.app import Context, Error, Message, MessageType, RecordDict

from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    SITE,
    STATISTICS,
    UPDATE,
    Reply,
    Task,
    hello_reply_to_records,
    reply_to_records,
    task_from_records,
)
from common.wire.update import ArrayPlan
from server.app import GridMailbox
from server.mailbox import OFFLINE, Answer
from server.witness import NoWitness
from simulations.runtime import Handler, InProcessGrid

pytestmark = pytest.mark.usefixtures("flower_runtime")

MODEL = {"weight": np.arange(4, dtype=np.float32)}
PLAN = ArrayPlan.of(MODEL)
TASK = Task(round_number=3, config_digest="ab" * 32, train=True)
RELEASES = tuple(Release(name=name, mechanism=Mechanism.NOT_PRIVATE) for name in (UPDATE, STATISTICS, SITE))

OpenMailbox = Callable[[Sequence[Handler]], GridMailbox]


@pytest.fixture
def open_mailbox() -> Iterator[OpenMailbox]:
    grids: list[InProcessGrid] = []

    def build(handlers: Sequence[Handler]) -> GridMailbox:
        grids.append(InProcessGrid(handlers, num_workers=2))
        return GridMailbox(grids[-1], witness=NoWitness())

    yield build
    for grid in grids:
        grid.close()


def site(name: str, *, band: str = "16-31", train: Handler | None = None) -> Handler:
    """A site that answers both messages, training by `train` where given."""

    def answer(message: Message, context: Context) -> Message | None:
        if message.metadata.message_type == MessageType.QUERY:
            return Message(hello_reply_to_records(name, band), reply_to=message)
        return (train or honest)(message, context)

    def honest(message: Message, _: Context) -> Message:
        update = {"weight": np.full(4, len(name), dtype=np.float32)}
        reply = Reply(
            site=name,
            round_number=TASK.round_number,
            run=TASK.config_digest,
            update=update,
            statistics={"brief": {}},
            releases=RELEASES,
        )
        return Message(reply_to_records(reply), reply_to=message)

    return answer


def error_reply(reason: str | None) -> Handler:
    return lambda message, _: Message(Error(7, reason), reply_to=message)


def ask(mailbox: GridMailbox, sites: Sequence[str], *, seconds: float = 5.0) -> dict[str, Answer]:
    answers = list(mailbox.ask(TASK, MODEL, PLAN, sites=tuple(sites), deadline_seconds=seconds))
    assert len({answer.site for answer in answers}) == len(answers)
    return {answer.site: answer for answer in answers}


def test_sites_are_met_by_name_and_answer_for_themselves(open_mailbox: OpenMailbox) -> None:
    mailbox = open_mailbox([site("north", band="32-63"), site("east")])
    assert mailbox.meet(least=1, deadline_seconds=5) == {"north": "32-63", "east": "16-31"}
    answers = ask(mailbox, ["east", "north"])
    for name, answer in answers.items():
        assert answer.reply is not None
        assert answer.reply.site == name
        assert answer.reply.update is not None
        assert answer.reply.update["weight"].tolist() == [len(name)] * 4


def test_task_and_model_arrive_as_they_were_sent(open_mailbox: OpenMailbox) -> None:
    seen: list[RecordDict] = []

    def keep(message: Message, _: Context) -> Message:
        seen.append(message.content)
        return Message(Error(1, "raised"), reply_to=message)

    mailbox = open_mailbox([site("north", train=keep)])
    mailbox.meet(least=1, deadline_seconds=5)
    ask(mailbox, ["north"])
    assert task_from_records(seen[0]) == TASK
    assert seen[0].array_records["model"]["weight"].numpy().tolist() == [0, 1, 2, 3]


def test_only_the_sites_that_are_asked_get_the_task(open_mailbox: OpenMailbox) -> None:
    mailbox = open_mailbox([site("north"), site("east"), site("south")])
    mailbox.meet(least=1, deadline_seconds=5)
    answers = ask(mailbox, ["south", "unknown"])
    assert answers.keys() == {"south", "unknown"}
    assert answers["unknown"] == Answer("unknown", None, OFFLINE)


def test_node_with_a_taken_name_is_left_out(open_mailbox: OpenMailbox) -> None:
    mailbox = open_mailbox([site("north", band="16-31"), site("north", band="64-127", train=error_reply("second"))])
    assert mailbox.meet(least=1, deadline_seconds=5) == {"north": "16-31"}
    assert ask(mailbox, ["north"])["north"].problem is None


@pytest.mark.parametrize(
    "stranger",
    [
        error_reply("raised"),
        site("other", band="many"),
        site("other", band="16-63"),
        lambda message, _: Message(RecordDict(), reply_to=message),
        lambda *_: 1 / 0,
    ],
)
def test_node_that_does_not_say_who_it_is_is_left_out(open_mailbox: OpenMailbox, stranger: Handler) -> None:
    assert open_mailbox([stranger, site("north")]).meet(least=1, deadline_seconds=5) == {"north": "16-31"}


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("budget", "budget"),
        ("patient-name John Doe: cannot be read", "raised"),
        ("<script>", "raised"),
        ("", "raised"),
        (None, "raised"),
    ],
)
def test_error_reply_leaves_a_code_and_no_text(open_mailbox: OpenMailbox, sent: str | None, reason: str) -> None:
    mailbox = open_mailbox([site("north", train=error_reply(sent)), site("east")])
    mailbox.meet(least=1, deadline_seconds=5)
    answers = ask(mailbox, ["north", "east"])
    assert answers["north"] == Answer("north", None, reason)
    assert answers["east"].reply is not None


def test_reply_that_cannot_be_read_is_a_reason(open_mailbox: OpenMailbox) -> None:
    mailbox = open_mailbox([site("north", train=lambda message, _: Message(RecordDict(), reply_to=message))])
    mailbox.meet(least=1, deadline_seconds=5)
    assert ask(mailbox, ["north"])["north"] == Answer("north", None, "malformed")


def test_silent_site_costs_the_deadline_and_no_more(open_mailbox: OpenMailbox) -> None:
    mailbox = open_mailbox([site("north", train=lambda *_: None), site("east")])
    mailbox.meet(least=1, deadline_seconds=5)
    started = time.monotonic()
    assert ask(mailbox, ["north", "east"], seconds=0.5).keys() == {"east"}
    assert 0.5 <= time.monotonic() - started < 2.0


def test_lost_nodes_error_reply_is_matched_by_the_message_it_answers() -> None:
    """Flower's server writes it in the node's place, with its own number as the sender."""

    class LostNode(InProcessGrid):
        def pull_messages(self, message_ids: object) -> list[Message]:
            replies = list(super().pull_messages(message_ids))  # type: ignore[arg-type]
            for reply in replies:
                if reply.has_error():
                    reply.metadata.__dict__["_src_node_id"] = 1
            return replies

    grid = LostNode([site("north", train=error_reply("raised")), site("east")], num_workers=2)
    mailbox = GridMailbox(grid, witness=NoWitness())
    mailbox.meet(least=1, deadline_seconds=5)
    answers = ask(mailbox, ["north", "east"])
    grid.close()
    assert answers["north"] == Answer("north", None, "raised")
    assert answers["east"].reply is not None
