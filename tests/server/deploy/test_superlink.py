"""What Flower logs while it answers a site passes our filters: one that raised would end the answer with HTTP 500."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from flwr.app import Message, RecordDict
from flwr.server.superlink.linkstate import InMemoryLinkState
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager

from server.deploy.superlink import is_no_poll, late_in_words

pytestmark = pytest.mark.usefixtures("flower_runtime")


@pytest.fixture
def flower_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Flower's log behind the filters of the SuperLink's process."""
    logger = logging.getLogger("flwr")
    filters = (is_no_poll, late_in_words)
    for one in filters:
        logger.addFilter(one)
    yield caplog
    for one in filters:
        logger.removeFilter(one)


def test_late_answer_is_left_out_in_one_line_and_raises_nothing(flower_log: pytest.LogCaptureFixture) -> None:
    state = InMemoryLinkState(NoOpFederationManager(), ObjectStoreFactory().store())
    question = Message(RecordDict(), 7, "train", ttl=60.0)
    question.metadata.__dict__["_message_id"] = "q"
    late = Message(RecordDict(), reply_to=question)
    late.metadata.ttl = -0.5
    flower_log.clear()
    assert state.store_message_res(late) is None
    (line,) = [record for record in flower_log.records if record.levelno > logging.DEBUG]
    assert "came after its question had expired" in line.getMessage()
    assert line.levelno == logging.WARNING


def test_polls_are_dropped_and_other_lines_kept(flower_log: pytest.LogCaptureFixture) -> None:
    for said in ("ControlServicer.ListRuns", ["a list"], "something else"):
        logging.getLogger("flwr").error(said)
    assert [record.getMessage() for record in flower_log.records] == ["['a list']", "something else"]
