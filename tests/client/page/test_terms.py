"""What words and a report share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.page.terms import explained


@pytest.mark.parametrize(
    ("query", "report", "shared", "opposed"),
    [
        ("left pleural effusion", "Small pleural effusions on the left.", ("pleural", "effusion", "left"), ()),
        ("pleural effusion", "No pleural effusion.", (), ("pleural", "effusion")),
        ("no effusion", "No effusion or consolidation.", ("no effusion",), ()),
        ("no effusion", "Large effusion.", (), ("effusion",)),
        ("effusion", "No effusion on the right. Effusion on the left.", ("effusion",), ()),
        ("effusion, no pneumothorax", "Effusion. Pneumothorax.", ("effusion",), ("pneumothorax",)),
        ("tear", "No effusion, swelling, dislocation of the joint or tear.", (), ("tear",)),
        ("calculi", "Non-obstructing calculi.", ("calculi",), ()),
        ("gallstone", "A gallstone is not visualized.", (), ("gallstone",)),
        ("the study is seen with", "The study is seen with.", (), ()),
        ("mass", "The masses.", (), ()),
        ("", "Effusion.", (), ()),
        ("effusion", "", (), ()),
    ],
)
def test_terms_are_shared_or_opposed(
    query: str, report: str, shared: tuple[str, ...], opposed: tuple[str, ...]
) -> None:
    found = explained(query, report)
    assert (found.shared, found.opposed) == (shared, opposed)


@given(st.text(), st.text())
def test_report_is_shown_whole(query: str, report: str) -> None:
    assert "".join(piece.text for piece in explained(query, report).pieces) == report


@given(st.text())
def test_words_share_all_that_they_say_with_themselves(text: str) -> None:
    assert explained(text, text).opposed == ()
