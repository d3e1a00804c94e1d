"""What is to be encoded, the images below a folder or the texts of a table: each gets a code, or is listed with why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from client.data.images import locate
from client.data.rows import Row, read_table
from client.data.view_files import view_reader
from common.errors import DataError
from common.hashing.codes import Codes
from common.model.model import AT_ONCE, Encoded, Model
from common.types import BadRow, UnusableRow

ID, TEXT = "study_id", "report"
"""Columns of a table of texts, as in a manifest."""

Content = TypeVar("Content")

Progress = Callable[[int, int], None]
"""Told how many items are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Coded:
    """Items with their codes, and those that have none.

    Attributes:
        ids: Path below the folder, or identifier in the table, `[N]`.
        codes: Packed codes `[N, P]`.
        bad: Files and rows that could not be encoded, and why.
    """

    ids: NDArray[np.str_]
    codes: Codes
    bad: tuple[BadRow, ...]


@dataclass(frozen=True)
class _Item(Generic[Content]):
    """One item that can be encoded."""

    id: str
    content: Content


def code_images(model: Model, folder: Path, *, progress: Progress) -> Coded:
    """Codes of every file below a folder, in the order of their paths; DICOM (`.dcm`) is read as in training.

    Raises:
        DataError: There is no such folder, or no file below it can be encoded.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name one that holds images")
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
    )
    read = view_reader(allow_burned_in=model.form.allow_burned_in, pixel_bits=model.form.pixel_bits)

    def item(name: str) -> _Item[PIL.Image.Image] | BadRow:
        try:
            return _Item(name, PIL.Image.fromarray(read(locate(folder, name)).image))
        except UnusableRow as error:
            return BadRow(name, 0, str(error))

    return _coded(map(item, names), len(names), model.images, source=folder, progress=progress)


def code_texts(model: Model, table: Path, *, progress: Progress) -> Coded:
    """Codes of the texts in a table with columns `study_id` and `report`, such as a manifest, in its order.

    Raises:
        DataError: The table cannot be read, or no row of it can be encoded.
    """
    rows = read_table(table, required=(ID, TEXT), others=()).rows
    seen: set[str] = set()

    def item(row: Row | BadRow) -> _Item[str] | BadRow:
        if isinstance(row, BadRow):
            return row
        try:
            name, text = row.require(ID), row.require(TEXT)
        except UnusableRow as error:
            return BadRow(table.name, row.line, str(error))
        if name in seen:
            return BadRow(table.name, row.line, f"{ID} is that of an earlier row; give each row its own")
        seen.add(name)
        return _Item(name, text)

    return _coded(map(item, rows), len(rows), model.texts, source=table, progress=progress)


def _coded(
    items: Iterator[_Item[Content] | BadRow],
    number: int,
    encode: Callable[[Sequence[Content]], Encoded],
    *,
    source: Path,
    progress: Progress,
) -> Coded:
    ids: list[str] = []
    bad: list[BadRow] = []
    parts: list[Codes] = []
    for batch in _batches(items):
        good = [item for item in batch if isinstance(item, _Item)]
        bad += [item for item in batch if isinstance(item, BadRow)]
        ids += [item.id for item in good]
        parts.append(encode([item.content for item in good]).codes)
        progress(len(ids) + len(bad), number)
    if not ids:
        first = f", the first because: {bad[0].reason}" if bad else ""
        raise DataError(f"{source}: nothing in it can be encoded{first}")
    return Coded(ids=np.array(ids), codes=np.concatenate(parts), bad=tuple(bad))


def _batches(items: Iterator[_Item[Content] | BadRow]) -> Iterator[list[_Item[Content] | BadRow]]:
    """All items in order, as many at a time as a model encodes."""
    while batch := [item for _, item in zip(range(AT_ONCE), items, strict=False)]:
        yield batch
