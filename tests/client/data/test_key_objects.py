"""DICOM key objects of studies that were found, read back by pydicom; and single studies read by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, KeyObjectSelectionDocumentStorage

from client.data.dicom import DicomAdapter
from client.data.key_objects import write_key_objects
from common.errors import ConfigError, DataError
from common.types import BadRow, Study, UnusableRow

Write = Callable[..., Path]
STUDIES = {"1.2.3.1": ("1.2.9.1", "p1"), "1.2.3.2": ("1.2.9.1", "p1"), "1.2.3.3": ("1.2.9.2", "p2")}
"""Image to DICOM study and patient."""


@pytest.fixture
def adapter(tmp_path: Path, write_instance: Write, write_table: Write) -> DicomAdapter:
    root = tmp_path / "dicom"
    root.mkdir()
    write_table(root / "reports.csv", [["accession_number", "report"], ["a", "clear"]])
    for number, (image, (study, patient)) in enumerate(STUDIES.items()):
        header: dict[str, Any] = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.7", "StudyID": "1"}
        header |= {
            "PatientName": "Doe^Jane",
            "PatientBirthDate": "19500101",
            "PatientSex": "F",
            "StudyDate": "20240102",
        }
        header |= {"StudyTime": "101010", "ReferringPhysicianName": ""}
        write_instance(root / f"{number}.dcm", SOPInstanceUID=image, AccessionNumber="a", PatientID=patient, **header)
    return DicomAdapter(root, allow_burned_in=False, site_column="site")


def test_one_document_for_each_study_points_to_the_images_that_were_found(
    adapter: DicomAdapter, tmp_path: Path
) -> None:
    written = write_key_objects(adapter, ["1.2.3.3", "1.2.3.1", "1.2.3.2"], tmp_path / "out")
    documents = [dcmread(path) for path in written]
    assert [(doc.StudyInstanceUID, doc.PatientID) for doc in documents] == [("1.2.9.1", "p1"), ("1.2.9.2", "p2")]
    for document in documents:
        assert document.SOPClassUID == document.file_meta.MediaStorageSOPClassUID == KeyObjectSelectionDocumentStorage
        assert document.Modality == "KO"
        assert document.ConceptNameCodeSequence[0].CodeValue == "113000"  # Of Interest, CID 7010
        pointed = [item.ReferencedSOPSequence[0] for item in document.ContentSequence]
        (evidence,) = document.CurrentRequestedProcedureEvidenceSequence
        (series,) = evidence.ReferencedSeriesSequence
        listed = {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence}
        assert {item.ReferencedSOPInstanceUID for item in pointed} == listed
        assert {STUDIES[image][0] for image in listed} == {document.StudyInstanceUID}
        assert {item.ReferencedSOPClassUID for item in pointed} == {CTImageStorage}
    assert len({document.SOPInstanceUID for document in documents}) == len(documents)


def test_folder_that_holds_something_and_image_that_is_gone_are_refused(adapter: DicomAdapter, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 2 images that were found are in the folder no more"):
        write_key_objects(adapter, ["1.2.3.1", "1.2.3.99"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="holds something already"):
        write_key_objects(adapter, ["1.2.3.1"], adapter.root)


def test_header_that_lacks_its_series_is_refused_without_a_word_of_it(adapter: DicomAdapter, tmp_path: Path) -> None:
    path = adapter.root / "0.dcm"
    dataset = dcmread(path)
    del dataset.SeriesInstanceUID
    dataset.save_as(path)
    with pytest.raises(UnusableRow, match=r"lacks what a key object selection needs \(\w+\)") as raised:
        write_key_objects(adapter, ["1.2.3.1"], tmp_path / "out")
    assert "Doe" not in str(raised.value)


def test_named_studies_are_those_of_all_and_no_other_is_decoded(adapter: DicomAdapter) -> None:
    whole = {item.record.study_id: item for item in adapter.studies() if isinstance(item, Study)}
    found = list(adapter.named({"1.2.3.2", "no such"}))
    assert [item.record for item in found if isinstance(item, Study)] == [whole["1.2.3.2"].record]
    (study,) = found
    assert isinstance(study, Study)
    assert np.array_equal(study.image, whole["1.2.3.2"].image)
    dataset = dcmread(adapter.root / "1.dcm")
    dataset.PixelData = dataset.PixelData[:10]
    dataset.save_as(adapter.root / "1.dcm")
    assert [type(item) for item in adapter.named({"1.2.3.1"})] == [Study]
    assert [type(item) for item in adapter.named({"1.2.3.2"})] == [BadRow]
