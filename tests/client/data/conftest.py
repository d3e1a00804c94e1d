"""Writers of small files in the layouts that the adapters read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SIDE = 32


def _ramp() -> NDArray[np.int16]:
    """0, 1, 2, ... over the image, so that each pixel value names its place."""
    return np.arange(SIDE * SIDE, dtype=np.int16).reshape(SIDE, SIDE)


@pytest.fixture
def ramp() -> NDArray[np.int16]:
    return _ramp()


@pytest.fixture
def write_table() -> Callable[[Path, Sequence[Sequence[str]]], Path]:
    def write(path: Path, rows: Sequence[Sequence[str]]) -> Path:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        return path

    return write


@pytest.fixture
def make_instance() -> Callable[..., Dataset]:
    """An instance in memory: a 16-bit signed grey ramp unless `pixels` or header values say otherwise."""

    @disable_value_validation()
    def make(pixels: NDArray[Any] | None = None, *, frames: int | None = None, **header: Any) -> FileDataset:
        pixels = _ramp() if pixels is None else pixels
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset(None, {}, preamble=b"\0" * 128, file_meta=meta)
        dataset.SOPClassUID = meta.MediaStorageSOPClassUID
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.AccessionNumber = "A1"
        dataset.PatientID = "P1"
        grey = pixels.ndim == 2 or (frames is not None and pixels.ndim == 3)
        shape = pixels.shape[1:] if frames is not None else pixels.shape
        dataset.Rows, dataset.Columns = shape[:2]
        if frames is not None:
            dataset.NumberOfFrames = frames
        dataset.SamplesPerPixel = 1 if grey else 3
        if not grey:
            dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = "MONOCHROME2" if grey else "RGB"
        bits = pixels.dtype.itemsize * 8
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
        return dataset

    return make


@pytest.fixture
def write_instance(make_instance: Callable[..., Dataset]) -> Callable[..., Path]:
    @disable_value_validation()
    def write(path: Path, pixels: NDArray[Any] | None = None, **header: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_instance(pixels, **header).save_as(path, enforce_file_format=True)
        return path

    return write
