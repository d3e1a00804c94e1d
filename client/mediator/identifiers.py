"""Words that look like they name a patient: record and accession numbers, names, days of birth, and the like.

A search for similar studies names nobody. The patterns are those of the identifiers of 45 CFR 164.514(b)(2) that a
query may hold; they err on the side of refusing, for words that are refused can be said otherwise.
"""

from __future__ import annotations

import re

_NUMBERED = r"(?:no\.?|number|nr\.?|num|id|#)?\s*(?:is|=|:|#)?\s*[a-z]{0,4}-?"
_DAY = (
    r"(?:\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2}"
    r"|\d{1,2}\s+[a-z]{3,9}\.?\s+\d{4}|[a-z]{3,9}\s+\d{1,2},?\s+\d{4})"
)
_CAPITAL = r"(?:[A-Z][a-z'\u2019-]+|[A-Z]{2,})"
_NO_NAME = r"(?!of\b|with\b|without\b|in\b|on\b|and\b|is\b|known\b|has\b)"

_PATTERNS = (
    ("a record number", r"(?i)\bmrn\b|\bmedical record (?:no|number)\b"),
    ("a record number", rf"(?i)\b(?:medical record|patient|pat|hospital|pid|case)\b[\s.-]*{_NUMBERED}\d{{5,}}"),
    ("an accession number", rf"(?i)\baccession (?:no|number)|\b(?:accession|acc|study id)\b[\s.-]*{_NUMBERED}\d{{3,}}"),
    ("an identifier of DICOM", r"\b[12](?:\.\d+){5,}\b"),
    ("a day of birth", r"(?i)\b(?:dob|date of birth|birth ?date|birthday)\b|\bd\.o\.b\b"),
    ("a day of birth", rf"(?i)\bborn(?: on)?[\s:]+{_DAY}"),
    ("a name", r"(?i)\b(?:patient|full|last|first|family)(?:[\u2019']s)?\s+name\b|\bsurname\b"),
    ("a name", rf"(?i:\b(?:named|(?<!so-)called))\s+{_CAPITAL}"),
    ("a name", r"\b(?:Mr|Ms|Dr|Prof|(?i:mrs|miss|herr|frau|mme))\b\.?\s+[A-Z][a-z'\u2019-]+"),
    ("a name", rf"(?i:\bpatient),?\s+{_NO_NAME}[A-Z][a-z'\u2019-]+[\s,]+[A-Z][a-z'\u2019-]+\b"),
    ("a name", r"\b[A-Z]{2,}\^[A-Z]{2,}"),
    ("a social security number", r"(?i)\b\d{3}-\d{2}-\d{4}\b|\bssn\b|\bsocial security\b|\bnhs (?:no|number)\b"),
    ("a number as long as a record's", r"\b\d{7,}\b|\b[A-Z]{1,4}-?\d{6,}\b"),
    ("an address of electronic mail", r"[\w.+-]+@[\w-]+\.\w{2,}"),
    ("a telephone number", r"(?<!\d)\+?(?:\d[\s()-]{0,2}){9,}\d(?!\d)"),
)
_COMPILED = tuple((what, re.compile(pattern)) for what, pattern in _PATTERNS)


def identifiers(words: str) -> tuple[str, ...]:
    """What of a patient words seem to name, each kind once; none where they name nobody."""
    return tuple(dict.fromkeys(what for what, pattern in _COMPILED if pattern.search(words)))
