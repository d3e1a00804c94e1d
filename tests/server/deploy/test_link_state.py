"""What the SuperLink's patience is good for; the same with Flower's own state fails, so that it is needed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_FLWR_AID
from flwr.server.superlink.linkstate import InMemoryLinkState, in_memory_linkstate, linkstate_factory
from flwr.server.superlink.linkstate.linkstate_factory import LinkStateFactory
from flwr.supercore import date
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.corestate import in_memory_corestate
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager

from server.deploy import link_state
from server.deploy.link_state import SILENT_SECONDS, PatientLinkState, be_patient

pytestmark = pytest.mark.usefixtures("flower_runtime")
TTL_SECONDS = 600.0


class Clock:
    """The time of a state, which is told to go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._by = timedelta()
        real = date.now
        for module in (in_memory_corestate, in_memory_linkstate, link_state):
            monkeypatch.setattr(module, "now", lambda: real() + self._by)

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self._by += timedelta(seconds=seconds)


class Link:
    """A state with one run and one node that is there."""

    def __init__(self, kind: type[InMemoryLinkState]) -> None:
        store = ObjectStoreFactory().store()
        self.state = kind(NoOpFederationManager(), store)
        self.run = self.state.create_run(
            None, None, "9f86d08", {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        self.node = self.state.create_node(NOOP_FLWR_AID, "o", b"key", 30)
        self.state.activate_node(self.node, 30)

    def ask(self) -> str:
        """A question that is whole."""
        return self._put(Message(RecordDict(), self.node, "train", ttl=TTL_SECONDS), src=1)

    def handed_out(self) -> list[str]:
        """What the node gets when it asks."""
        return [one.metadata.message_id for one in self.state.get_message_ins(self.node, limit=1)]

    def confirm(self, name: str) -> None:
        """The node has all of a question."""
        self.state.object_store.delete(name)

    def announce_reply(self, question: str) -> tuple[str, dict[str, bytes]]:
        """The upload of a reply, and its parts, none of which is sent."""
        asked = self.state.message_ins_store[question]
        reply = Message(RecordDict({"model": ArrayRecord([np.arange(9.0)])}), reply_to=asked)
        return self._announce(reply, src=self.node)

    def send(self, session: str, name: str, content: bytes) -> bool:
        """Whether a part is taken."""
        return self.state.store_object(self.run, session, name, content)

    def replies(self, question: str) -> list[Message]:
        """What the run gets when it looks."""
        return self.state.get_message_res({question}, self.run)

    def _put(self, message: Message, *, src: int) -> str:
        session, parts = self._announce(message, src=src)
        for name, content in parts.items():
            assert self.send(session, name, content)
        return message.object_id

    def _announce(self, message: Message, *, src: int) -> tuple[str, dict[str, bytes]]:
        facts: dict[str, Any] = message.metadata.__dict__
        facts |= {"_run_id": self.run, "_src_node_id": src, "_message_id": ""}
        facts["_message_id"] = message.object_id
        session = self.state.start_session(self.run)
        stored, _ = self.state.store_message_and_object_tree(
            remove_content_from_message(message), get_object_tree(message), session
        )
        assert stored
        return session, {name: part.deflate() for name, part in get_all_nested_objects(message).items()}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def link() -> Link:
    return Link(PatientLinkState)


@pytest.fixture
def flowers() -> Link:
    return Link(InMemoryLinkState)


def test_node_that_is_silent_for_two_minutes_is_still_there_and_so_is_its_question(
    link: Link, flowers: Link, clock: Clock
) -> None:
    questions = {one: one.ask() for one in (link, flowers)}
    clock.go_on(179)
    assert (link.state.get_nodes(link.run), flowers.state.get_nodes(flowers.run)) == ({link.node}, set())
    assert [len(one.replies(questions[one])) for one in (link, flowers)] == [0, 1]  # the one says that it is lost
    clock.go_on(SILENT_SECONDS - 179)
    assert link.replies(questions[link])[0].has_error()


def test_node_says_not_itself_how_long_it_may_be_silent(link: Link, clock: Clock) -> None:
    link.state.acknowledge_node_heartbeat(link.node, 1800)
    clock.go_on(SILENT_SECONDS + 1)
    assert link.state.get_nodes(link.run) == set()


def test_node_that_says_goodbye_is_gone_at_once(link: Link) -> None:
    question = link.ask()
    link.state.deactivate_node(link.node)
    assert link.replies(question)[0].has_error()


def test_question_is_handed_out_again_until_the_node_has_it(link: Link, flowers: Link) -> None:
    question = link.ask()
    assert [link.handed_out(), link.handed_out()] == [[question], [question]]  # the first answer was lost
    link.confirm(question)
    assert link.handed_out() == []
    lost = flowers.ask()
    assert [flowers.handed_out(), flowers.handed_out()] == [[lost], []]


def test_question_that_was_not_confirmed_stands_before_the_next(link: Link) -> None:
    first = link.ask()
    link.handed_out()
    second = link.ask()
    assert link.handed_out() == [first]
    link.confirm(first)
    assert link.handed_out() == [second]


def test_reply_is_there_when_its_last_part_is(link: Link, flowers: Link) -> None:
    for one, sees_before in ((link, 0), (flowers, 1)):
        question = one.ask()
        session, parts = one.announce_reply(question)
        *early, last = parts.items()
        for part in early:
            assert one.send(session, *part)
        assert len(one.replies(question)) == sees_before
        assert one.send(session, *last)
    question = next(iter(link.state.message_ins_store))
    assert len(link.replies(question)) == 1


def test_reply_that_is_not_whole_at_the_end_of_its_question_is_none(link: Link, clock: Clock) -> None:
    question = link.ask()
    link.announce_reply(question)
    clock.go_on(TTL_SECONDS + 1)
    [reply] = link.replies(question)
    assert reply.has_error()


def test_part_whose_answer_was_lost_may_be_sent_again(link: Link, flowers: Link) -> None:
    again = {}
    for one in (link, flowers):
        session, parts = one.announce_reply(one.ask())
        part = next(iter(parts.items()))
        assert one.send(session, *part)
        again[one] = one.send(session, *part)
        assert not one.send(session, "0" * 64, b"nothing that was announced")
    assert (again[link], again[flowers]) == (True, False)


def test_upload_goes_on_after_two_minutes(link: Link, flowers: Link, clock: Clock) -> None:
    began = {one: one.announce_reply(one.ask()) for one in (link, flowers)}
    clock.go_on(190)
    assert [one.send(session, *next(iter(parts.items()))) for one, (session, parts) in began.items()] == [True, False]


def test_superlink_keeps_its_state_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(linkstate_factory), "InMemoryLinkState", InMemoryLinkState)
    be_patient()
    factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
    assert type(factory.state()) is PatientLinkState
