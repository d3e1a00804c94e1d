"""The transport over Flower's grid: names, reason codes, the deadline, and replies matched by what they answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from flwr.app import Context, Error, Message, MessageType, RecordDict

from common.errors import CheckFailed
from common.evidence.exchange import Evidence
from common.pair_noise.keys import PairKey, PairStatement
from common.privacy.release import Mechanism, Release
from common.trust.keys import SigningKey
from common.wire.evidence import with_evidence
from common.wire.flower import (
    SITE,
    STATISTICS,
    UPDATE,
    Hello,
    Reply,
    Task,
    hello_reply_to_records,
    reply_to_records,
    task_from_records,
)
from common.wire.update import ArrayPlan
from server.app import GridTransport
from server.recorder import NoRecorder
from server.roll_call import Names
from server.transport import OFFLINE, Answer, Presence, Wait
from simulations.runtime import FIRST_NODE, Handler, InProcessGrid

pytestmark = pytest.mark.usefixtures("flower_runtime")

MODEL = {"weight": np.arange(4, dtype=np.float32)}
PLAN = ArrayPlan.of(MODEL)
TASK = Task(round_number=3, config_digest="ab" * 32, train=True)
RELEASES = tuple(Release(name=name, mechanism=Mechanism.NOT_PRIVATE) for name in (UPDATE, STATISTICS, SITE))

OpenTransport = Callable[[Sequence[Handler]], GridTransport]


@pytest.fixture
def open_transport() -> Iterator[OpenTransport]:
    grids: list[InProcessGrid] = []

    def build(handlers: Sequence[Handler]) -> GridTransport:
        grids.append(InProcessGrid(handlers, num_workers=2))
        return GridTransport(grids[-1], recorder=NoRecorder())

    yield build
    for grid in grids:
        grid.close()


def waiting(least: int, *, seconds: float) -> Wait:
    """For so many sites, so long."""
    return Wait(wanted=least, needed=least, deadline_seconds=seconds)


def site(name: str, *, band: str = "16-31", train: Handler | None = None) -> Handler:
    """A site that answers both messages, training by `train` where given."""

    def answer(message: Message, context: Context) -> Message | None:
        if message.metadata.message_type == MessageType.QUERY:
            return Message(hello_reply_to_records(Hello(site=name, patients_band=band)), reply_to=message)
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


def ask(transport: GridTransport, sites: Sequence[str], *, seconds: float = 5.0) -> dict[str, Answer]:
    answers = list(transport.ask(TASK, MODEL, PLAN, sites=tuple(sites), deadline_seconds=seconds))
    assert len({answer.site for answer in answers}) == len(answers)
    return {answer.site: answer for answer in answers}


def test_sites_are_met_by_name_and_answer_for_themselves(open_transport: OpenTransport) -> None:
    transport = open_transport([site("north", band="32-63"), site("east")])
    assert transport.meet(waiting(1, seconds=5)) == {"north": "32-63", "east": "16-31"}
    answers = ask(transport, ["east", "north"])
    for name, answer in answers.items():
        assert answer.reply is not None
        assert answer.reply.site == name
        assert answer.reply.update is not None
        assert answer.reply.update["weight"].tolist() == [len(name)] * 4


def test_task_and_model_arrive_as_they_were_sent(open_transport: OpenTransport) -> None:
    seen: list[RecordDict] = []

    def keep(message: Message, _: Context) -> Message:
        seen.append(message.content)
        return Message(Error(1, "raised"), reply_to=message)

    transport = open_transport([site("north", train=keep)])
    transport.meet(waiting(1, seconds=5))
    ask(transport, ["north"])
    assert task_from_records(seen[0]) == TASK
    assert seen[0].array_records["model"]["weight"].numpy().tolist() == [0, 1, 2, 3]


def test_only_the_sites_that_are_asked_get_the_task(open_transport: OpenTransport) -> None:
    transport = open_transport([site("north"), site("east"), site("south")])
    transport.meet(waiting(1, seconds=5))
    answers = ask(transport, ["south", "unknown"])
    assert answers.keys() == {"south", "unknown"}
    assert answers["unknown"] == Answer("unknown", None, OFFLINE)


def test_node_with_a_taken_name_is_left_out(open_transport: OpenTransport) -> None:
    transport = open_transport([site("north", band="16-31"), site("north", band="64-127", train=error_reply("second"))])
    assert transport.meet(waiting(1, seconds=5)) == {"north": "16-31"}
    assert ask(transport, ["north"])["north"].problem is None


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
def test_node_that_does_not_say_who_it_is_is_left_out(open_transport: OpenTransport, stranger: Handler) -> None:
    assert open_transport([stranger, site("north")]).meet(waiting(1, seconds=5)) == {"north": "16-31"}


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("budget", "budget"),
        ("patient-name John Doe: cannot be read", "raised"),
        ("<script>", "raised"),
        ("", "raised"),
        (None, "raised"),
        ("offline", "raised"),
    ],
)
def test_error_reply_leaves_a_code_and_no_text(open_transport: OpenTransport, sent: str | None, reason: str) -> None:
    transport = open_transport([site("north", train=error_reply(sent)), site("east")])
    transport.meet(waiting(1, seconds=5))
    answers = ask(transport, ["north", "east"])
    assert answers["north"] == Answer("north", None, reason)
    assert answers["east"].reply is not None


def test_reply_that_cannot_be_read_is_a_reason(open_transport: OpenTransport) -> None:
    transport = open_transport([site("north", train=lambda message, _: Message(RecordDict(), reply_to=message))])
    transport.meet(waiting(1, seconds=5))
    assert ask(transport, ["north"])["north"] == Answer("north", None, "malformed")


def test_silent_site_costs_the_deadline_and_no_more(open_transport: OpenTransport) -> None:
    transport = open_transport([site("north", train=lambda *_: None), site("east")])
    transport.meet(waiting(1, seconds=5))
    started = time.monotonic()
    assert ask(transport, ["north", "east"], seconds=0.5).keys() == {"east"}
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
    transport = GridTransport(grid, recorder=NoRecorder())
    transport.meet(waiting(1, seconds=5))
    answers = ask(transport, ["north", "east"])
    grid.close()
    assert answers["north"] == Answer("north", None, "raised")
    assert answers["east"].reply is not None


@dataclass
class Hospitals:
    """A grid whose nodes come and go.

    Attributes:
        handlers: What answers each node.
        here: The nodes that are there.
    """

    handlers: Sequence[Handler]
    here: set[int]

    @contextmanager
    def transport(self, names: Names | None = None) -> Iterator[GridTransport]:
        """A transport over the grid."""
        here = self.here

        class Nodes(InProcessGrid):
            def get_node_ids(self) -> list[int]:
                return sorted(here)

        grid = Nodes(self.handlers, num_workers=2)
        try:
            yield GridTransport(grid, recorder=NoRecorder(), names=names)
        finally:
            grid.close()


def arrivals(transport: GridTransport, *, least: int = 1, seconds: float = 5.0) -> dict[str, str]:
    return transport.arrivals(waiting(least, seconds=seconds))


NORTH_NODE, EAST_NODE, THIRD_NODE = FIRST_NODE, FIRST_NODE + 1, FIRST_NODE + 2


def test_site_that_comes_is_greeted_with_a_rounds_tasks_and_asked_in_the_next() -> None:
    hospitals = Hospitals([site("north"), site("east", band="32-63")], {NORTH_NODE})
    with hospitals.transport() as transport:
        assert transport.meet(waiting(1, seconds=5)) == {"north": "16-31"}
        assert arrivals(transport) == {}
        hospitals.here.add(EAST_NODE)
        assert ask(transport, ["north", "east"])["east"] == Answer("east", None, OFFLINE)
        time.sleep(0.1)
        assert arrivals(transport) == {"east": "32-63"}
        assert arrivals(transport) == {}
        assert ask(transport, ["north", "east"])["east"].reply is not None


def test_node_that_never_says_who_it_is_delays_no_round() -> None:
    def mute(message: Message, _: Context) -> Message | None:  # noqa: ARG001 - of `Handler`
        return None

    hospitals = Hospitals([site("north"), mute], {NORTH_NODE})
    with hospitals.transport() as transport:
        transport.meet(waiting(1, seconds=5))
        hospitals.here.add(EAST_NODE)
        started = time.monotonic()
        for _ in range(3):
            assert ask(transport, ["north"], seconds=30)["north"].reply is not None
            assert arrivals(transport, seconds=30) == {}
        assert time.monotonic() - started < 5


def test_site_whose_node_is_gone_is_offline_at_once() -> None:
    hospitals = Hospitals([site("north"), site("east")], {NORTH_NODE, EAST_NODE})
    with hospitals.transport() as transport:
        transport.meet(waiting(2, seconds=5))
        hospitals.here.remove(EAST_NODE)
        started = time.monotonic()
        answers = ask(transport, ["north", "east"], seconds=30)
        assert answers["east"] == Answer("east", None, OFFLINE)
        assert answers["north"].reply is not None
        assert time.monotonic() - started < 5


def test_site_comes_back_under_another_node_once_its_own_is_gone() -> None:
    hospitals = Hospitals([site("north"), site("east"), site("east")], {NORTH_NODE, EAST_NODE})
    with hospitals.transport() as transport:
        transport.meet(waiting(2, seconds=5))
        hospitals.here.add(THIRD_NODE)
        ask(transport, ["north"])
        time.sleep(0.1)
        assert arrivals(transport) == {}, "the name is taken while its node is there"
        hospitals.here.remove(EAST_NODE)
        assert arrivals(transport, least=2) == {"east": "16-31"}
        assert ask(transport, ["north", "east"])["east"].reply is not None


def test_too_few_sites_are_waited_for_until_the_deadline() -> None:
    hospitals = Hospitals([site("north"), site("east")], {NORTH_NODE})
    with hospitals.transport() as transport:
        transport.meet(waiting(1, seconds=5))
        started = time.monotonic()
        assert arrivals(transport, least=2, seconds=0.5) == {}
        assert 0.5 <= time.monotonic() - started < 3
        threading.Timer(0.3, lambda: hospitals.here.add(EAST_NODE)).start()
        started = time.monotonic()
        assert arrivals(transport, least=2, seconds=30) == {"east": "16-31"}
        assert time.monotonic() - started < 5


def test_first_site_is_waited_for() -> None:
    hospitals = Hospitals([site("north")], set())
    with hospitals.transport() as transport:
        threading.Timer(0.3, lambda: hospitals.here.add(NORTH_NODE)).start()
        assert transport.meet(waiting(1, seconds=30)) == {"north": "16-31"}


def test_registered_name_is_what_counts() -> None:
    asked: list[int] = []

    def unregistered(message: Message, context: Context) -> Message | None:
        asked.append(context.node_id)
        return site("west")(message, context)

    hospitals = Hospitals([site("north"), site("north"), unregistered], {NORTH_NODE, EAST_NODE, THIRD_NODE})
    with hospitals.transport(lambda: {NORTH_NODE: "south", EAST_NODE: "north"}) as transport:
        assert transport.meet(waiting(1, seconds=5)) == {"north": "16-31"}
    assert asked == []


def test_refused_node_is_asked_once_a_round() -> None:
    asked: list[str] = []

    def stranger(message: Message, _: Context) -> Message:
        asked.append(message.metadata.message_type)
        return Message(Error(1, "raised"), reply_to=message)

    hospitals = Hospitals([site("north"), stranger], {NORTH_NODE, EAST_NODE})
    with hospitals.transport() as transport:
        transport.meet(waiting(2, seconds=0.5))
        assert len(asked) == 1
        for _ in range(2):
            ask(transport, ["north"])
            time.sleep(0.1)
            arrivals(transport)
        assert asked == [MessageType.QUERY] * 3


@pytest.mark.parametrize("code", [3, 4, 5])
def test_lost_message_or_node_has_a_reason_of_its_own(open_transport: OpenTransport, code: int) -> None:
    """What Flower's server writes in the place of a node: `flwr.common.constant.ErrorCode`."""

    def lost(message: Message, _: Context) -> Message:
        return Message(Error(code, "Error: Node Unavailable - it went away."), reply_to=message)

    transport = open_transport([site("north", train=lost)])
    transport.meet(waiting(1, seconds=5))
    assert ask(transport, ["north"])["north"] == Answer("north", None, "lost")


def test_evidence_that_nobody_asked_for_is_refused(open_transport: OpenTransport) -> None:
    def signing(message: Message, context: Context) -> Message:
        reply = site("north")(message, context)
        assert reply is not None
        return Message(with_evidence(reply.content, Evidence(held=0)), reply_to=message)

    transport = open_transport([site("north", train=signing)])
    transport.meet(waiting(1, seconds=5))
    assert ask(transport, ["north"])["north"] == Answer("north", None, "keys")


class Clock:
    """A site that prepares until it is told that it is ready, and notes how often it was asked."""

    def __init__(self, name: str, reason: str = "preparing_40_10") -> None:
        self.reason: str | None = reason
        self.asked = 0
        self._ready = site(name)

    def __call__(self, message: Message, context: Context) -> Message | None:
        """Say how far it is, or answer."""
        self.asked += 1
        if self.reason is None:
            return self._ready(message, context)
        return Message(Error(1, self.reason), reply_to=message)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of waiting as hundredths."""
    for name, seconds in (("PREPARING", 0.05), ("LOST", 0.01), ("REFUSED", 0.3)):
        monkeypatch.setattr(f"server.waiting.ASK_{name}_AGAIN_SECONDS", seconds)
    monkeypatch.setattr("server.app.WATCH_SECONDS", 0.0)


@pytest.mark.usefixtures("quick")
def test_site_that_prepares_is_waited_for_beyond_the_deadline_and_shown() -> None:
    slow = Clock("east")
    names = {FIRST_NODE: "north", FIRST_NODE + 1: "east"}
    grid = InProcessGrid([site("north"), slow], num_workers=2)
    transport = GridTransport(grid, recorder=NoRecorder(), names=lambda: names)
    seen: list[Presence] = []

    def watch(presence: Presence) -> None:
        seen.append(presence)
        if slow.asked >= 4:
            slow.reason = None

    wait = Wait(wanted=2, needed=1, deadline_seconds=0.05, patience_seconds=30.0, watch=watch)
    assert transport.meet(wait) == {"north": "16-31", "east": "16-31"}
    grid.close()
    assert Presence(("north",), {"east": "preparing_40_10"}) in seen
    assert seen[-1] == Presence(("east", "north"), {})


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("reason", "needed", "least_seconds", "most_seconds"),
    [
        ("preparing_40_10", 1, 1.0, 3.0),  # to the end of patience, no longer: a liar holds up nothing for ever
        ("data", 1, 0.2, 0.9),  # whoever could answer and does not is waited for until the deadline
        ("data", 2, 1.0, 3.0),  # but a quorum is needed
    ],
)
def test_wait_ends_when_nothing_is_worth_waiting_for(
    reason: str, needed: int, least_seconds: float, most_seconds: float
) -> None:
    grid = InProcessGrid([site("north"), Clock("east", reason)], num_workers=2)
    transport = GridTransport(grid, recorder=NoRecorder())
    started = time.monotonic()
    found = transport.meet(Wait(wanted=2, needed=needed, deadline_seconds=0.2, patience_seconds=1.0))
    assert least_seconds <= time.monotonic() - started < most_seconds
    grid.close()
    assert found == {"north": "16-31"}


def test_site_that_stands_apart_ends_no_wait() -> None:
    grid = InProcessGrid([site("north"), site("east")], num_workers=2)
    transport = GridTransport(grid, recorder=NoRecorder())
    transport.meet(waiting(2, seconds=10.0))
    assert (transport.num_here(), transport.num_here(apart={"north"})) == (2, 1)
    waited = []
    for apart in (frozenset[str](), frozenset({"north"})):
        started = time.monotonic()
        transport.arrivals(Wait(wanted=2, needed=2, deadline_seconds=0.3, apart=apart))
        waited.append(time.monotonic() - started)
    grid.close()
    assert waited[0] < 0.2
    assert waited[1] >= 0.3


@pytest.mark.usefixtures("quick")
def test_site_that_refused_and_came_to_terms_is_taken_in_during_the_wait() -> None:
    late = Clock("east", "bundle")
    grid = InProcessGrid([site("north"), late], num_workers=2)
    transport = GridTransport(grid, recorder=NoRecorder())

    def approve(_: Presence) -> None:
        late.reason = None if late.asked else "bundle"

    found = transport.meet(Wait(wanted=2, needed=2, deadline_seconds=0.1, patience_seconds=10.0, watch=approve))
    grid.close()
    assert found.keys() == {"north", "east"}


@pytest.mark.usefixtures("quick")
def test_node_whose_question_was_lost_is_asked_again_at_once() -> None:
    class Losing(InProcessGrid):
        lost = 3

        def pull_messages(self, message_ids: object) -> list[Message]:
            replies = list(super().pull_messages(message_ids))  # type: ignore[arg-type]
            for number, reply in enumerate(replies):
                if self.lost:
                    self.lost -= 1
                    gone = Message(
                        Error(3, "expired"), reply_to=Message(RecordDict(), dst_node_id=1, message_type="query")
                    )
                    gone.metadata.__dict__["_reply_to_message_id"] = reply.metadata.reply_to_message_id
                    replies[number] = gone
            return replies

    grid = Losing([site("north")], num_workers=2)
    transport = GridTransport(grid, recorder=NoRecorder())
    started = time.monotonic()
    assert transport.meet(Wait(wanted=1, needed=1, deadline_seconds=5.0)) == {"north": "16-31"}
    assert time.monotonic() - started < 3.0
    grid.close()


@pytest.mark.usefixtures("quick")
def test_watcher_ends_the_wait() -> None:
    grid = InProcessGrid([Clock("east")], num_workers=1)
    transport = GridTransport(grid, recorder=NoRecorder())

    def stop(_: Presence) -> None:
        raise CheckFailed("stop")

    with pytest.raises(CheckFailed, match="stop"):
        transport.meet(Wait(wanted=1, needed=1, deadline_seconds=60.0, patience_seconds=3600.0, watch=stop))
    grid.close()


def test_site_that_prepares_when_a_round_asks_is_dropped_for_that_alone(open_transport: OpenTransport) -> None:
    transport = open_transport([site("north"), site("east", train=error_reply("preparing_40_10"))])
    transport.meet(waiting(2, seconds=5))
    assert ask(transport, ["north", "east"])["east"] == Answer("east", None, "preparing")


# Shared noise


def statement(name: str) -> PairStatement:
    return PairKey(site=name, run=TASK.config_digest, signing_key=SigningKey.fresh()).statement


def sharing(name: str, keys: list[PairStatement], seen: list[Task]) -> Handler:
    """A site that states the last of its keys, and refuses a task that names another."""

    def answer(message: Message, _: Context) -> Message:
        if message.metadata.message_type == MessageType.QUERY:
            hello = Hello(site=name, patients_band="16-31", pair_key=keys[-1])
            return Message(hello_reply_to_records(hello), reply_to=message)
        seen.append(task_from_records(message.content))
        if keys[-1] not in seen[-1].pair_keys:
            return Message(Error(1, "pair_key"), reply_to=message)
        return site(name)(message, _)  # type: ignore[return-value]

    return answer


def test_task_names_the_keys_of_the_sites_that_are_asked(open_transport: OpenTransport) -> None:
    seen: list[Task] = []
    keys = {name: [statement(name)] for name in ("east", "north", "south")}
    transport = open_transport([sharing(name, keys[name], seen) for name in keys])
    transport.meet(waiting(3, seconds=5))
    assert transport.present(("east", "north", "west")) == ("east", "north")
    answers = ask(transport, ["east", "north"])
    assert [answer.problem for answer in answers.values()] == [None, None]
    assert all(set(task.pair_keys) == {keys["east"][0], keys["north"][0]} for task in seen)


def test_site_that_was_started_anew_is_asked_for_its_new_key(open_transport: OpenTransport) -> None:
    seen: list[Task] = []
    keys = {name: [statement(name)] for name in ("east", "north")}
    transport = open_transport([sharing(name, keys[name], seen) for name in keys])
    transport.meet(waiting(2, seconds=5))
    keys["north"].append(statement("north"))
    assert ask(transport, ["east", "north"])["north"].problem == "pair_key"
    transport.arrivals(waiting(2, seconds=5))
    assert ask(transport, ["east", "north"])["north"].problem is None
    assert keys["north"][-1] in seen[-1].pair_keys


def test_key_in_anothers_name_is_malformed(open_transport: OpenTransport) -> None:
    keys = [statement("south")]
    transport = open_transport([sharing("north", keys, [])])
    assert transport.meet(waiting(1, seconds=0.3)) == {}
