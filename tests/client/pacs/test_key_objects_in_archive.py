"""Key objects of studies that were found, stored in a real archive: it files them with their study, and all resolves.

The archive's own answers say so: QIDO finds the document in the study of its images, WADO gives it back, and every
instance that it points to is given by the archive, in that study.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset, dcmread
from pydicom.uid import KeyObjectSelectionDocumentStorage

from client.data.dicom import DicomAdapter
from client.data.key_objects import write_key_objects
from client.pacs.credentials import VARIABLE
from tests.client.pacs.archive_studies import image, report, study_uid
from tests.client.pacs.conftest import Command, records
from tests.client.pacs.orthanc import PASSWORD, USER, Orthanc

NUMBERS = (1, 2)
PATIENT = {"PatientName": "Doe^Jane", "PatientBirthDate": "19500101", "StudyID": "1", "ReferringPhysicianName": ""}
SOP_CLASS, STUDY, SERIES, INSTANCE = "00080016", "0020000D", "0020000E", "00080018"


@pytest.fixture
def asked(orthanc: Orthanc) -> Iterator[DICOMwebClient]:
    """The archive, as a viewer asks it."""
    with requests.Session() as session:
        session.auth = (USER, PASSWORD)
        yield DICOMwebClient(orthanc.url, session=session)


@pytest.fixture
def documents(
    orthanc: Orthanc, import_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Dataset, ...]:
    """Of two studies that were imported from the archive: of the first both images were found, of the second one."""
    monkeypatch.setenv(VARIABLE, f"{USER}:{PASSWORD}")
    for number in NUMBERS:
        orthanc.store(image(number, **PATIENT), image(number, instance=2, **PATIENT))
        orthanc.store(report(number, f"Finding {number}.", **PATIENT))
    assert import_("--dicomweb", orthanc.url).code == 0
    folder = tmp_path / "studies"
    found = [record.study_id for record in records(folder)]
    assert len(found) == 4
    chosen = [*(one for one in found if one.startswith(study_uid(1))), found[-1]]
    written = write_key_objects(
        DicomAdapter(folder, allow_burned_in=False, site_column="site"), chosen, tmp_path / "out"
    )
    return tuple(dcmread(path) for path in written)


def test_archive_finds_each_document_in_its_study_and_gives_what_it_points_to(
    orthanc: Orthanc, documents: tuple[Dataset, ...], asked: DICOMwebClient
) -> None:
    orthanc.store(*documents)
    assert [document.StudyInstanceUID for document in documents] == [study_uid(number) for number in NUMBERS]
    for document, num_pointed in zip(documents, (2, 1), strict=True):
        study = document.StudyInstanceUID
        (series,) = asked.search_for_series(study, search_filters={"Modality": "KO"})
        assert _value(series, SERIES) == document.SeriesInstanceUID
        (found,) = asked.search_for_instances(study, _value(series, SERIES))
        assert (_value(found, SOP_CLASS), _value(found, INSTANCE)) == (
            KeyObjectSelectionDocumentStorage,
            document.SOPInstanceUID,
        )
        given = asked.retrieve_instance(study, document.SeriesInstanceUID, document.SOPInstanceUID)
        pointed = list(_pointed(given))
        assert len(pointed) == len(given.ContentSequence) == num_pointed
        assert {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in given.ContentSequence} == {
            instance for _, instance in pointed
        }
        for series_uid, instance_uid in pointed:
            shown = asked.retrieve_instance(study, series_uid, instance_uid)
            assert (shown.StudyInstanceUID, shown.SOPInstanceUID) == (study, instance_uid)
            assert shown.PatientID == given.PatientID
            assert np.frombuffer(shown.PixelData, np.uint16).any()


def test_document_that_points_to_what_the_archive_has_not_does_not_resolve(
    orthanc: Orthanc, documents: tuple[Dataset, ...], asked: DICOMwebClient
) -> None:
    """The control: where an instance is not there, the archive says so."""
    document = documents[0]
    (series,) = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID += ".99"
    orthanc.store(document)
    given = asked.retrieve_instance(document.StudyInstanceUID, document.SeriesInstanceUID, document.SOPInstanceUID)
    (missing,) = [one for one in _pointed(given) if one[1].endswith(".99")]
    with pytest.raises(requests.HTTPError, match="404"):
        asked.retrieve_instance(document.StudyInstanceUID, *missing)


def _pointed(document: Dataset) -> Iterator[tuple[str, str]]:
    """Series and instance of all that a document lists as its evidence."""
    (evidence,) = document.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == document.StudyInstanceUID
    for series in evidence.ReferencedSeriesSequence:
        for instance in series.ReferencedSOPSequence:
            yield str(series.SeriesInstanceUID), str(instance.ReferencedSOPInstanceUID)


def _value(answer: dict[str, dict[str, list[str]]], tag: str) -> str:
    return answer[tag]["Value"][0]
