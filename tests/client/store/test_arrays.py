"""Arrays on the disk: what NumPy reads is what was written, row by row, and a broken file is an error in a line."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from client.store.arrays import ArrayWriter, StoredArray
from common.errors import DataError
from common.files import sha256_of_file

ROWS = torch.arange(60, dtype=torch.int64).view(10, 3, 2)


def write(path: Path, rows: Tensor) -> str:
    with path.open("wb") as file:
        writer = ArrayWriter(file, num_rows=len(rows))
        for part in rows.split(3):
            writer.add(part)
        return writer.finish()


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.int64, torch.float16])
def test_array_is_what_numpy_reads(tmp_path: Path, kind: torch.dtype) -> None:
    path = tmp_path / "a.npy"
    sha256 = write(path, ROWS.to(kind))
    found = np.load(path, mmap_mode="r")
    assert (found.dtype, found.shape) == (ROWS.to(kind).numpy().dtype, (10, 3, 2))
    assert np.array_equal(found, ROWS.to(kind).numpy())
    array = StoredArray.open(path)
    assert torch.equal(array.read(np.arange(10)), ROWS.to(kind))
    assert sha256 == sha256_of_file(path)
    assert b"".join(array.pieces()) == path.read_bytes()


@given(rows=st.lists(st.integers(0, 9), max_size=20))
def test_array_gives_the_rows_asked_for_in_that_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int]
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    write(path, ROWS)
    assert torch.equal(StoredArray.open(path).read(np.array(rows, dtype=np.int64)), ROWS[rows])


@pytest.mark.parametrize("row", [-1, 10])
def test_array_has_no_row_beyond_its_own(tmp_path: Path, row: int) -> None:
    write(tmp_path / "a.npy", ROWS)
    with pytest.raises(IndexError):
        StoredArray.open(tmp_path / "a.npy").read(np.array([row]))


def in_fortran_order(path: Path) -> None:
    np.save(path, np.asfortranarray(ROWS.numpy()))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda path: os.truncate(path, path.stat().st_size - 8), "holds 600 bytes where its header says 608"),
    "longer": (lambda path: os.truncate(path, path.stat().st_size + 8), "holds 616 bytes"),
    "a picture": (lambda path: path.write_bytes(b"\x89PNG" * 50), "is no array of studies"),
    "empty": (lambda path: path.write_bytes(b""), "is no array of studies"),
    "another order": (in_fortran_order, "is no array of studies"),
    "gone": (Path.unlink, "cannot be read"),
}


@pytest.mark.parametrize("harm", BROKEN)
def test_broken_array_is_refused_in_a_line_with_its_remedy(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "a.npy"
    write(path, ROWS)
    BROKEN[harm][0](path)
    with pytest.raises(DataError, match=BROKEN[harm][1]) as refused:
        StoredArray.open(path)
    assert str(path) in str(refused.value)
    assert "wardround site prepare" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_array_that_was_cut_between_two_looks_is_an_error_and_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npy"
    write(path, ROWS)
    array = StoredArray.open(path)
    os.truncate(path, 200)
    monkeypatch.setattr(array, "_check_unchanged", lambda: None)
    with pytest.raises(DataError, match="was cut short while it was in use"):
        array.read(np.arange(10))


def test_writer_refuses_another_number_or_another_shape_of_rows() -> None:
    writer = ArrayWriter(io.BytesIO(), num_rows=3)
    writer.add(ROWS[:2])
    with pytest.raises(ValueError, match="after rows"):
        writer.add(ROWS[:1, :2])
    with pytest.raises(ValueError, match="after rows"):
        writer.add(ROWS[:1].int())
    with pytest.raises(ValueError, match="2 rows where 3"):
        writer.finish()
