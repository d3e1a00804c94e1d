"""Each attack changes what it says it changes and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Error, Message, MessageType, RecordDict

from common.errors import ConfigError
from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    UPDATE,
    Reply,
    arrays_from_record,
    hello_reply_to_records,
    reply_to_records,
)
from simulations.attacks.registry import ATTACKS

pytestmark = pytest.mark.usefixtures("flower_runtime")

HONEST = {
    "weight": np.array([[1.0, -2.0], [3.0, 4.0]], dtype=np.float32),
    "bias": np.array([0.5], dtype=np.float32),
}
CONTEXT = Context(0, 2, {}, RecordDict(), {})


def honest(message: Message, _: Context) -> Message:
    if message.metadata.message_type == MessageType.QUERY:
        return Message(hello_reply_to_records("north", "16-31"), reply_to=message)
    releases = (Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE),)
    reply = Reply(
        site="north", round_number=1, run="ab" * 32, update=HONEST, statistics={"brief": {}}, releases=releases
    )
    return Message(reply_to_records(reply), reply_to=message)


def _question(kind: str) -> Message:
    message = Message(RecordDict(), 2, kind)
    message.metadata.__dict__["_message_id"] = "1"
    return message


def _sent(name: str) -> Message | None:
    return ATTACKS.load(name)(honest)(_question(MessageType.TRAIN), CONTEXT)


def _update(name: str) -> dict[str, Any]:
    sent = _sent(name)
    assert sent is not None
    return dict(arrays_from_record(sent.content.array_records[UPDATE]))


@pytest.mark.parametrize("name", ATTACKS.names)
def test_every_attacker_still_says_who_it_is(name: str) -> None:
    hello = ATTACKS.load(name)(honest)(_question(MessageType.QUERY), CONTEXT)
    assert hello is not None
    assert hello.content == hello_reply_to_records("north", "16-31")


@pytest.mark.parametrize("name", ["nan", "other_keys", "other_shape", "sign_flip"])
def test_only_the_update_of_the_reply_changes(name: str) -> None:
    sent, fair = _sent(name), _sent("none")
    assert sent is not None
    assert fair is not None
    assert sent.content.keys() == fair.content.keys()
    assert {key: sent.content[key] for key in sent.content if key != UPDATE} == {
        key: fair.content[key] for key in fair.content if key != UPDATE
    }
    assert sent.content[UPDATE] != fair.content[UPDATE]


def test_none_is_honest() -> None:
    assert ATTACKS.load("none")(honest) is honest


def test_nan_is_one_number() -> None:
    update = _update("nan")
    broken = [np.isnan(array).sum() for array in update.values()]
    assert sum(broken) == 1
    assert not np.isnan(HONEST["weight"]).any()
    assert {name: array.shape for name, array in update.items()} == {"weight": (2, 2), "bias": (1,)}


def test_other_keys_keep_the_values() -> None:
    update = _update("other_keys")
    assert not update.keys() & HONEST.keys()
    assert [array.tolist() for array in update.values()] == [array.tolist() for array in HONEST.values()]


def test_other_shape_adds_a_row() -> None:
    assert {name: array.shape for name, array in _update("other_shape").items()} == {"weight": (3, 2), "bias": (2,)}


def test_sign_flip_points_the_other_way() -> None:
    for name, array in _update("sign_flip").items():
        np.testing.assert_array_equal(array, -HONEST[name])
        assert array.dtype == np.float32


def test_silent_site_answers_nothing() -> None:
    assert _sent("silent") is None


def test_raising_site_raises_with_a_text_that_must_not_leave() -> None:
    with pytest.raises(RuntimeError, match="John Doe"):
        _sent("raise")


def test_attack_on_a_reply_without_an_update_leaves_it() -> None:
    def failing(message: Message, _: Context) -> Message:
        return Message(Error(1, "budget"), reply_to=message)

    for name in ("nan", "other_keys", "other_shape", "sign_flip"):
        reply = ATTACKS.load(name)(failing)(_question(MessageType.TRAIN), CONTEXT)
        assert reply is not None
        assert reply.error.reason == "budget"


def test_unknown_attack_is_refused_with_the_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"attack\.name=sign_flop: unknown; did you mean sign_flip"):
        ATTACKS.load("sign_flop")
