"""The text of structured reports: what is said, in order, without persons, and the last word alone."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import XRayRadiationDoseSRStorage

from client.pacs.structured_report import is_report, report_text
from tests.client.pacs.archive_studies import image, item, report


def test_text_items_stand_under_their_headings_without_observer_and_codes() -> None:
    document = report(1, "Heart enlarged.")
    impression = item("CONTAINER", "CONTAINS", "Impression")
    below = item("TEXT", "CONTAINS", "Impression", TextValue=" No pneumonia. ")
    below.ContentSequence = [item("TEXT", "INFERRED FROM", "Reason", TextValue="Clear lungs.")]
    impression.ContentSequence = [
        below,
        item("CODE", "CONTAINS", "Finding"),
        item("TEXT", "CONTAINS", "x", TextValue=""),
    ]
    document.ContentSequence.append(impression)
    document.ContentSequence.append(item("CONTAINER", "CONTAINS", "Empty"))
    assert report_text([document]) == "Findings:\nHeart enlarged.\nImpression:\nNo pneumonia.\nClear lungs."


def test_later_document_stands_after_and_one_that_replaces_another_stands_for_it() -> None:
    first, addendum = report(1, "First."), report(1, "Addendum.", instance=2)
    assert report_text([addendum, first]) == "Findings:\nFirst.\n\nFindings:\nAddendum."
    assert report_text([first, report(1, "First.", instance=2)]) == "Findings:\nFirst."
    addendum.PredecessorDocumentsSequence = [_reference(first)]
    assert report_text([first, addendum]) == "Findings:\nAddendum."


def test_documents_that_no_person_writes_are_no_reports() -> None:
    assert is_report(report(1, "x"))
    assert not is_report(report(1, "x", SOPClassUID=XRayRadiationDoseSRStorage))
    assert not is_report(image(1))


def _reference(document: Dataset) -> Dataset:
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPInstanceUID = document.SOPInstanceUID
    series.ReferencedSOPSequence = [instance]
    study.ReferencedSeriesSequence = [series]
    return study
