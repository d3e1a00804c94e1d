"""Identifiers that may be one patient's: the same but for case, width, white space or leading zeros.

The unit of privacy is the patient, so that two spellings of one patient would protect them half. Only the hospital
knows whether `7` and `007` are one: what is alike is counted, never named, and `data.same_patients` settles it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from common.types import StudyRecord

EXACT, FOLDED = "exact", "folded"
SAME_PATIENTS = (EXACT, FOLDED)
"""`data.same_patients`: identifiers are compared as they stand, or folded."""


def folded(patient_id: str) -> str:
    """What identifiers that are alike have in common: NFKC, case folded, no white space, no leading zeros.

    Idempotent; an identifier of zeros alone keeps one.
    """
    text, simpler = patient_id, _simpler(patient_id)
    while simpler != text:
        text, simpler = simpler, _simpler(simpler)
    return text


def _simpler(text: str) -> str:
    """One pass. A rule may make work for an earlier one: NFKC turns a cedilla alone into a space and a mark."""
    text = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    return text.lstrip("0") or text[-1:]


def num_alike(patient_ids: Iterable[str]) -> int:
    """Pairs of different identifiers that are alike."""
    sizes = Counter(folded(name) for name in set(patient_ids))
    return sum(size * (size - 1) // 2 for size in sizes.values())


def with_patients(record: StudyRecord, *, same_patients: str) -> StudyRecord:
    """The record under its patient's identifier as `data.same_patients` has it; its split group stays what it was."""
    return replace(record, patient_id=folded(record.patient_id)) if same_patients == FOLDED else record
