"""Every form of a malformed reply is refused with a reason, and none raises anything else."""

from __future__ import annotations

import pytest

from common.errors import AdmissionError
from common.wire.flower import MAX_STATISTICS_BYTES, UPDATE, reply_from_records
from common.wire.update import ArrayPlan
from simulations.attacks.malformed import FORMS
from tests.simulations.attacks.site import HONEST, Attacker

pytestmark = pytest.mark.usefixtures("flower_runtime")

REASONS = ["malformed", "malformed", "size", "keys", "malformed", "malformed"]


def test_each_round_brings_the_next_form_and_then_the_first_again() -> None:
    attacker = Attacker("malformed")
    sent = [attacker.content(number) for number in range(1, len(FORMS) + 2)]
    assert sent[len(FORMS)].keys() == sent[0].keys() == {UPDATE}
    assert len({repr(sorted((name, type(record)) for name, record in reply.items())) for reply in sent}) > 2


@pytest.mark.parametrize(("number", "reason"), list(enumerate(REASONS, start=1)))
def test_each_form_is_refused_for_its_reason(number: int, reason: str) -> None:
    with pytest.raises(AdmissionError, match=f"^{reason}$"):
        reply_from_records(Attacker("malformed").content(number), ArrayPlan.of(HONEST))


def test_honest_reply_is_read() -> None:
    assert reply_from_records(Attacker("none").content(), ArrayPlan.of(HONEST)).site == "north"


def test_huge_text_is_longer_than_any_that_is_read() -> None:
    texts = Attacker("malformed").content(3).config_records.values()
    assert max(len(str(value)) for record in texts for value in record.values()) > MAX_STATISTICS_BYTES
