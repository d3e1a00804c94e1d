"""A reply that is a round late, and an update that is sent twice."""

from __future__ import annotations

import numpy as np
import pytest

from common.wire.flower import ROUND_FIELD, SITE, STATISTICS, UPDATE
from tests.simulations.attacks.site import Attacker, update_of

pytestmark = pytest.mark.usefixtures("flower_runtime")


def _round_of(update: dict[str, object]) -> int:
    return next(number for number in range(1, 9) if np.array_equal(update["weight"], update_of(number)["weight"]))  # type: ignore[arg-type]


def test_stale_reply_is_the_whole_one_of_the_round_before() -> None:
    attacker, honest = Attacker("stale"), Attacker("none")
    sent = [attacker.content(number) for number in (1, 2, 3)]
    assert sent[0] == sent[1] == honest.content(1)
    assert sent[2] == honest.content(2)
    assert [reply.config_records[SITE][ROUND_FIELD] for reply in sent] == [1, 1, 2]


def test_replayed_update_comes_in_a_reply_of_this_round() -> None:
    attacker, honest = Attacker("replayed"), Attacker("none")
    assert [_round_of(attacker.update(number)) for number in (1, 2, 3)] == [1, 1, 1]
    sent, fair = attacker.content(4), honest.content(4)
    assert sent.config_records[SITE][ROUND_FIELD] == 4
    assert sent[STATISTICS] == fair[STATISTICS]
    assert sent[UPDATE] == honest.content(1)[UPDATE]


@pytest.mark.parametrize("name", ["stale", "replayed"])
def test_every_attacker_remembers_its_own(name: str) -> None:
    one, other = Attacker(name), Attacker(name)
    one.ask(1)
    one.ask(2)
    assert _round_of(other.update(5)) == 5
    assert _round_of(one.update(3)) == {"stale": 2, "replayed": 1}[name]
