"""A folder or a table into codes: each item has one, or is listed with why; the file is whole or absent."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from client.data.dicom_image import grey_image, read_instance
from client.encode.encode_cli import encode_command
from client.encode.items import code_images, code_texts
from common.errors import CheckFailed, ConfigError, DataError
from common.model import Model, load_model


@pytest.fixture(scope="module")
def model(exported_model: Path) -> Model:
    return load_model(exported_model)


def ignore(done: int, total: int) -> None:
    """Nobody looks."""


def picture(path: Path, seed: int = 0) -> Path:
    PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50), dtype=np.uint8)).save(path)
    return path


def instance(path: Path, **header: object) -> Path:
    """A CT of 12 bits with a window."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, {}, preamble=b"\0" * 128, file_meta=meta)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.Rows = dataset.Columns = 64
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.WindowCenter, dataset.WindowWidth = 1000, 400
    dataset.PixelData = np.arange(4096, dtype=np.int16).tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def bomb(path: Path) -> None:
    """A PNG whose header claims 2 to the 43rd pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 2**30, 2**13, 8, 0, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_images_are_encoded_in_order_and_dicom_through_its_window(model: Model, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    paths = [picture(tmp_path / "below" / f"{number:02}.png", number) for number in range(35)]
    ct = instance(tmp_path / "a.dcm")
    found = code_images(model, tmp_path, progress=ignore)
    assert found.ids.tolist() == ["a.dcm", *(f"below/{path.name}" for path in paths)]
    assert found.bad == ()
    assert (found.codes[1:] == model.encode_images(paths)).mean() > 0.99  # another batch may round a tie otherwise
    windowed = PIL.Image.fromarray(grey_image(read_instance(ct)))
    assert (found.codes[:1] == model.encode_images([windowed])).all()


def test_what_cannot_be_encoded_is_listed_and_nothing_is_skipped(model: Model, tmp_path: Path) -> None:
    outside = picture(tmp_path / "outside.png")
    root = tmp_path / "images"
    root.mkdir()
    picture(root / "good.png")
    bomb(root / "bomb.png")
    (root / "cut.png").write_bytes((root / "good.png").read_bytes()[:200])
    (root / "empty.jpg").touch()
    (root / "note.txt").write_text("call me")
    (root / "link.png").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path)
    instance(root / "marked.dcm", BurnedInAnnotation="YES")
    (root / "cut.dcm").write_bytes((root / "marked.dcm").read_bytes()[:300])
    found = code_images(model, root, progress=ignore)
    reasons = {row.file: row.reason for row in found.bad}
    assert found.ids.tolist() == ["good.png"]
    assert reasons.keys() == {path.name for path in root.iterdir()} - {"good.png"}
    assert "Bomb" in reasons["bomb.png"]
    assert "leaves the data root" in reasons["link.png"]
    assert "burned-in" in reasons["marked.dcm"]


def test_texts_are_encoded_and_rows_without_one_are_listed(model: Model, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('study_id,report\na,left mass\nb,\na,again\nc,"two\nlines"\nd,x,y\n', encoding="utf-8")
    found = code_texts(model, table, progress=ignore)
    assert found.ids.tolist() == ["a", "c"]
    assert (found.codes == model.encode_texts(["left mass", "two\nlines"])).all()
    assert [(row.row, row.reason.partition(";")[0]) for row in found.bad] == [
        (3, "report is empty"),
        (4, "study_id is that of an earlier row"),
        (7, "the row has 3 fields and the header 2"),
    ]


def test_command_writes_what_numpy_reads(
    exported_model: Path, model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    picture(tmp_path / "images" / "a.png")
    out = tmp_path / "codes.npz"
    encode_command(model=exported_model, images=tmp_path / "images", out=out, as_object=True)
    with np.load(out) as found:
        assert found["codes"].shape == (1, model.bit_width // 8)
        assert found["ids"].tolist() == ["a.png"]
        assert str(found["model"]) == model.digest
        assert int(found["bit_width"]) == model.bit_width
    assert json.loads(capsys.readouterr().out)["bad"] == []
    first = out.read_bytes()
    (tmp_path / "images" / "b.png").write_bytes(b"no picture")
    with pytest.raises(CheckFailed, match="1 could not be encoded"):
        encode_command(model=exported_model, images=tmp_path / "images", out=out)
    assert out.read_bytes() == first, "the same codes, the same bytes"
    assert "b.png: image cannot be decoded" in capsys.readouterr().err


def test_command_that_can_encode_nothing_leaves_what_was_there(exported_model: Path, tmp_path: Path) -> None:
    out, empty = tmp_path / "codes.npz", tmp_path / "empty"
    empty.mkdir()
    out.write_bytes(b"mine")
    for options in ({"images": empty}, {"images": tmp_path / "nowhere"}, {"texts": tmp_path / "nowhere.csv"}):
        with pytest.raises(DataError):
            encode_command(model=exported_model, out=out, **options)  # type: ignore[arg-type]
    for options in ({}, {"images": empty, "texts": empty}):
        with pytest.raises(ConfigError, match="one of --images DIR and --texts FILE"):
            encode_command(model=exported_model, out=out, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"written as \.npz"):
        encode_command(model=exported_model, images=empty, out=tmp_path / "codes.parquet")
    assert out.read_bytes() == b"mine"
