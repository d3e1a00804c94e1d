"""A question is its asker's, of now, and nobody else's."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from common.errors import TrustError
from common.search.question import MOST_BYTES, Question, new_question, read_question, who_asks
from common.trust.envelope import seal
from common.trust.keys import SigningKey

KEY, OTHER = SigningKey.fresh(), SigningKey.fresh()
CODE = np.arange(16, dtype=np.uint8)


def question() -> Question:
    return new_question(CODE, asker="northgate", model="a" * 64, gallery="images", most=10)


def test_sealed_question_is_read_back_with_its_code() -> None:
    asked = question()
    assert who_asks(asked.sealed(KEY)) == "northgate"
    read = read_question(asked.sealed(KEY), KEY.public)
    assert read == asked
    assert read.code_P.tolist() == CODE.tolist()
    assert len(asked.sealed(KEY)) < MOST_BYTES


def test_no_two_questions_are_the_same() -> None:
    assert len({question().digest for _ in range(50)}) == 50


def test_question_in_anothers_name_is_refused() -> None:
    with pytest.raises(TrustError, match="signature"):
        read_question(question().sealed(OTHER), KEY.public)


def test_changed_question_is_refused() -> None:
    whole = json.loads(question().sealed(KEY))
    whole["body"]["most"] = 1000
    with pytest.raises(TrustError, match="signature"):
        read_question(json.dumps(whole).encode(), KEY.public)


def test_seal_for_another_purpose_is_none() -> None:
    with pytest.raises(TrustError, match="signature"):
        read_question(seal(question(), KEY, purpose="search answer"), KEY.public)


@pytest.mark.parametrize(
    "change",
    [
        {"asker": "../etc"},
        {"model": "A" * 64},
        {"number": ""},
        {"most": 0},
        {"most": 1001},
        {"most": math.nan},
        {"code": "NaN"},
        {"code": math.nan},
        {"gallery": "patients"},
        {"code": "00" * 5},
        {"code": "zz" * 16},
        {"asked_at": "2026-11-30T10:00:00"},
        {"asked_at": "yesterday"},
    ],
)
def test_value_that_cannot_be_is_refused_before_anything_is_done(change: dict[str, object]) -> None:
    sealed = json.dumps({"body": asdict(question()) | change, "signatures": {"ed25519": "00" * 64}}).encode()
    with pytest.raises(TrustError):
        who_asks(sealed)


def test_long_question_is_not_parsed() -> None:
    with pytest.raises(TrustError, match="longer"):
        read_question(b" " * (MOST_BYTES + 1), KEY.public)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_question_of_another_time_is_refused(minutes: int) -> None:
    asked = replace(question(), asked_at=datetime.now(UTC).isoformat())
    asked.check_time(datetime.now(UTC) + timedelta(minutes=minutes / 2))
    with pytest.raises(TrustError, match="clocks"):
        asked.check_time(datetime.now(UTC) + timedelta(minutes=minutes))
