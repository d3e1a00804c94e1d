"""Sections of a report that describe its images."""

from __future__ import annotations

import pytest

from client.data.report_text import describing_sections


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("FINDINGS: Clear.\n\n IMPRESSION: Normal.", "Clear.\nNormal."),
        ("INDICATION: Cough.\nIMPRESSION:\n No\n change.\nRECOMMENDATION: None.", "No change."),
        ("FINDINGS/IMPRESSION: Clear.", "Clear."),
        ("CONCLUSION: Clear: no change.\nADDENDUM: Read twice.", "Clear: no change."),
        ("   FINAL REPORT\n Single view of the chest.", "Single view of the chest."),
        ("HISTORY: Cough.\nClear lungs. FINDINGS in words: none.", "Cough. Clear lungs. FINDINGS in words: none."),
        ("FINDINGS:\nIMPRESSION:\n", ""),
        (" \n", ""),
    ],
)  # fmt: skip
def test_describing_sections_are_findings_and_impression_or_all(text: str, kept: str) -> None:
    assert describing_sections(text) == kept
