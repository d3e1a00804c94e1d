"""Small studies as an archive holds them: images and structured reports."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
)

ROOT = "1.2.826.0.1.3680043.8.498"
DAY = "20240131"
SIDE = 24


def study_uid(number: int) -> str:
    return f"{ROOT}.{number}"


@disable_value_validation()
def image(number: int, *, series: int = 1, instance: int = 1, side: int = SIDE, **header: Any) -> Dataset:
    """An image of study `number`, whose grey values say which image it is."""
    found = _instance(ComputedRadiographyImageStorage, number, series, instance)
    found.Modality = "CR"
    found.Rows = found.Columns = side
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
    ramp = np.arange(side * side, dtype=np.uint16).reshape(side, side)
    found.PixelData = ((ramp * (number + instance)) % 4096).astype(np.uint16).tobytes()
    found["PixelData"].VR = "OW"
    return _with(found, header)


@disable_value_validation()
def report(number: int, text: str, *, series: int = 9, instance: int = 1, **header: Any) -> Dataset:
    """A structured report of study `number`: findings below a heading, and who observed."""
    found = _instance(BasicTextSRStorage, number, series, instance)
    found.Modality = "SR"
    found.ContentDate, found.ContentTime = DAY, f"12000{instance}"
    found.ValueType, found.CompletionFlag, found.VerificationFlag = "CONTAINER", "COMPLETE", "VERIFIED"
    found.ConceptNameCodeSequence = [_code("18748-4", "Diagnostic imaging report")]
    observer = item("PNAME", "HAS OBS CONTEXT", "Person Observer Name", PersonName="Rumpelstiltskin")
    place = item("TEXT", "HAS OBS CONTEXT", "Person Observer's Organization", TextValue="North Hospital")
    findings = item("CONTAINER", "CONTAINS", "Findings")
    findings.ContentSequence = [item("TEXT", "CONTAINS", "Finding", TextValue=text)]
    found.ContentSequence = [observer, place, findings]
    return _with(found, header)


@disable_value_validation()
def item(kind: str, relationship: str, concept: str, **values: Any) -> Dataset:
    """A content item."""
    found = Dataset()
    found.ValueType, found.RelationshipType = kind, relationship
    found.ConceptNameCodeSequence = [_code("121070", concept)]
    return _with(found, values)


def encoded(dataset: Dataset) -> bytes:
    """The instance as a DICOM Part 10 file."""
    content = io.BytesIO()
    with disable_value_validation():
        dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()


def _instance(kind: str, number: int, series: int, instance: int) -> Dataset:
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SOPClassUID = kind
    found.StudyInstanceUID = study_uid(number)
    found.SeriesInstanceUID = f"{study_uid(number)}.{series}"
    found.SOPInstanceUID = f"{study_uid(number)}.{series}.{instance}"
    found.StudyDate, found.StudyTime = DAY, "080000"
    found.PatientID, found.PatientName = f"P{number}", "Rumpelstiltskin"
    found.PatientSex, found.PatientAge = "F", "045Y"
    found.AccessionNumber = f"A{number}"
    found.StudyID, found.SeriesNumber, found.InstanceNumber = "1", series, instance
    found.ReferringPhysicianName, found.PatientBirthDate = "", ""
    return found


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "LN", meaning
    return code


def _with(dataset: Dataset, values: dict[str, Any]) -> Dataset:
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
