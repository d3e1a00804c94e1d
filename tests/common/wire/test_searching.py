"""A hospital's answer as records: read back as it was sent, and hostile ones refused by a reason code."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from flwr.app import ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from common.errors import AdmissionError
from common.privacy.release import Mechanism, Release
from common.search.answer import Hit, SiteAnswer
from common.search.question import MOST_BYTES
from common.wire.flower import RELEASES, releases_to_record
from common.wire.searching import (
    FOUND,
    MOST_ANSWER_BYTES,
    QUESTION,
    answer_from_records,
    answer_to_records,
    question_from_records,
    question_to_records,
)

ANSWER = SiteAnswer(question="a" * 64, hits=(Hit(handle="h" * 24, distance=4),), cut=False)


def said(**changes: object) -> str:
    return json.dumps({**asdict(ANSWER), **changes})


def records(
    text: object = said(), *, mechanism: Mechanism = Mechanism.SEARCH_ANSWER, **more: ConfigRecord
) -> RecordDict:
    listed = releases_to_record((Release(name=FOUND, mechanism=mechanism),))
    return RecordDict({FOUND: ConfigRecord({"json": text}), RELEASES: listed, **more})  # type: ignore[dict-item]


@given(
    st.lists(st.tuples(st.text("abc_-09", min_size=16, max_size=40), st.integers(0, 256)), max_size=20), st.booleans()
)
def test_answer_comes_back_as_it_was_sent(hits: list[tuple[str, int]], cut: bool) -> None:  # noqa: FBT001 - drawn
    answer = SiteAnswer(question="b" * 64, hits=tuple(Hit(handle=h, distance=d) for h, d in hits), cut=cut)
    assert answer_from_records(answer_to_records(answer)) == answer


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (records(mechanism=Mechanism.PUBLIC), "keys"),
        (records(more=ConfigRecord({"text": "x"})), "keys"),
        (RecordDict({FOUND: ConfigRecord({"json": said()})}), "keys"),
        (records("x" * (MOST_ANSWER_BYTES + 1)), "size"),
        (records(7), "malformed"),
        (records("["), "malformed"),
        (records("[" * 100_000), "malformed"),
        (records(said(cut=1)), "malformed"),
        (records(said(patient="Huber")), "malformed"),
        (records(said(hits=[{"handle": "h" * 24, "distance": True}])), "malformed"),
        (records(said(hits=[{"handle": "h" * 24, "distance": 4.0}])), "malformed"),
        (records(said(hits=[{"handle": "h" * 24, "distance": 4, "report": "x"}])), "malformed"),
        (records(said(hits=None)), "malformed"),
        (records(said().replace("4", "NaN")), "malformed"),
    ],
)
def test_answer_that_is_none_is_refused(content: RecordDict, reason: str) -> None:
    with pytest.raises(AdmissionError, match=reason):
        answer_from_records(content)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sealed": b"x"},
        {"sealed": "x", "key": "k"},
        {"sealed": b"x", "key": 1},
        {"sealed": b"x", "key": "k", "t": 1},
    ],
)
def test_question_that_is_none_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(AdmissionError, match="no question"):
        question_from_records(RecordDict({QUESTION: ConfigRecord({**fields})}))  # type: ignore[dict-item]


def test_question_is_bounded_before_it_is_read() -> None:
    with pytest.raises(AdmissionError, match="longer"):
        question_from_records(question_to_records(b"x" * (MOST_BYTES + 1), key="k"))
