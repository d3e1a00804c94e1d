"""The text of a report that an archive holds as a structured document (DICOM PS3.3 A.35, C.17.3).

Of a document's tree the values of its text items are taken, in order, under the headings of the containers that hold
them. Names of persons are items of another kind, and what says who observed or in which language stands under
relationships of its own: neither is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage, Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

REPORT_CLASSES = frozenset({BasicTextSRStorage, EnhancedSRStorage, ComprehensiveSRStorage, Comprehensive3DSRStorage})
"""Documents that people write. Dose reports, marks of software and procedure logs have classes of their own."""

_OF_THE_DOCUMENT = frozenset({"HAS OBS CONTEXT", "HAS ACQ CONTEXT", "HAS CONCEPT MOD"})
"""Relationships of what is said of the document, not in it (C.17.3.2.4)."""


def is_report(dataset: Dataset) -> bool:
    """Whether an instance is a document of a kind that people write reports in."""
    return dataset.get("SOPClassUID") in REPORT_CLASSES


def report_text(documents: Iterable[Dataset]) -> str:
    """The text of a study's documents, oldest first; without those that a later one replaces, and without repeats.

    A document replaces what its PredecessorDocumentsSequence names: the preliminary report, by the final one.
    """
    found = list(documents)
    replaced = {
        instance.ReferencedSOPInstanceUID
        for document in found
        for study in document.get("PredecessorDocumentsSequence") or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for instance in series.get("ReferencedSOPSequence") or ()
    }
    last = sorted((document for document in found if document.SOPInstanceUID not in replaced), key=_written_at)
    texts = ("\n".join(_lines(document)).replace("\0", "") for document in last)
    return "\n\n".join(dict.fromkeys(text for text in texts if text))


def _written_at(document: Dataset) -> tuple[str, str, str]:
    return (
        str(document.get("ContentDate") or ""),
        str(document.get("ContentTime") or ""),
        str(document.SOPInstanceUID),
    )


def _lines(item: Dataset) -> Iterator[str]:
    for below in item.get("ContentSequence") or ():
        if str(below.get("RelationshipType") or "") in _OF_THE_DOCUMENT:
            continue
        lines = list(_lines(below))
        if str(below.get("ValueType") or "") == "TEXT":
            lines = [text for text in [str(below.get("TextValue") or "").strip()] if text] + lines
        elif lines and (heading := _heading(below)):
            lines = [f"{heading}:", *lines]
        yield from lines


def _heading(container: Dataset) -> str:
    names = container.get("ConceptNameCodeSequence") or ()
    return str(names[0].get("CodeMeaning") or "").strip() if names else ""
