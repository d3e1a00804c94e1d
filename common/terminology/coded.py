"""A concept as DICOM writes one down: code system, code and what it means (PS3.3 section 8, "code sequence")."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMES = ("SCT", "RADLEX", "DCM", "99WARDROUND")
"""SNOMED CT, RadLex, DICOM's own, and the project's for what these have no code of (a private one begins with 99)."""


@dataclass(frozen=True, order=True)
class Coded:
    """A concept.

    Attributes:
        scheme: One of `SCHEMES`.
        code: Its code there.
        meaning: Its name, in the words of the code system.
    """

    scheme: str
    code: str
    meaning: str
