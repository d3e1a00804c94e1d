"""Reads an adapter both ways, and holds the one against the other."""

from __future__ import annotations

from client.data.interface import Adapter
from common.types import BadRow, Study, StudyRecord, Unpaired

ONLY_THE_PIXELS_TELL = (
    "image cannot be decoded",
    "image claims",
    "image has 32-bit",
    "pixel data",
    "no decoder",
    "image has burned-in",
    "DICOM file is damaged",
    "not a DICOM",
)
"""Beginnings of the reasons that only decoding finds."""


def studies_of(adapter: Adapter) -> list[Study | Unpaired | BadRow]:
    """What `studies` yields, once `records` was seen to yield the same without the images."""
    found = list(adapter.studies())
    for item, record in zip(found, adapter.records(), strict=True):
        if isinstance(item, Study):
            assert record == item.record
        elif item != record:
            assert isinstance(item, BadRow)
            assert isinstance(record, StudyRecord)
            assert item.reason.startswith((*ONLY_THE_PIXELS_TELL, "photometric", "instance has no pixel", "VOI LUT"))
    return found
