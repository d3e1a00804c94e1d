"""What may go wrong with one question to an archive; no message quotes what the archive said."""

from __future__ import annotations

from common.errors import DataError, WardroundError


class ArchiveSilent(WardroundError):
    """The archive did not answer, or not wholly; it may the next time."""

    reason = "archive"


class StudyRefused(DataError):
    """One study cannot be taken as the archive gives it; others can. The message holds no patient data."""
