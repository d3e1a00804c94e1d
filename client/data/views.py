"""Rows that list one image each, as studies: several rows of one study are views of one record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from client.data.listed import ListedStudy, ListedView
from client.data.rows import Row, Table
from client.data.view_order import rank_of
from common.types import BadRow, StudyRecord, UnusableRow


class View(NamedTuple):
    """What a row says of its image.

    Attributes:
        study_id: Whose view it is; unique within the data set.
        patient_id: Whose study that is.
        path: File of the image, relative to the data root.
        position: View position as recorded; "" where it is not.
    """

    study_id: str
    patient_id: str
    path: str
    position: str


@dataclass(frozen=True, slots=True)
class RowsOfStudy:
    """The rows of one study.

    Attributes:
        study_id: The study.
        patient_id: Its patient, whom all rows name.
        row: The first of the table.
    """

    study_id: str
    patient_id: str
    row: Row


def studies_in(
    table: Table, *, view_of: Callable[[Row], View], record_of: Callable[[RowsOfStudy], StudyRecord]
) -> Iterator[ListedStudy | BadRow]:
    """The studies of a table in the order of their first rows, the views of each by `rank_of`, then by row.

    A row that belongs to no study, or repeats an image, is a bad row of its own; rows of one study that name two
    patients make the whole study one, for the patient is the unit of privacy.

    Args:
        table: One row an image.
        view_of: What a row says of its image; raises `UnusableRow`.
        record_of: The record of a study; raises `UnusableRow`.
    """
    file = table.path.name
    found: dict[str, list[tuple[Row, View]]] = {}
    order: list[str | BadRow] = []
    first_lines: dict[str, int] = {}
    for row in table.rows:
        if isinstance(row, BadRow):
            order.append(row)
            continue
        try:
            view = view_of(row)
            _check_first(view.path, row.line, first_lines)
        except UnusableRow as error:
            order.append(BadRow(file, row.line, str(error)))
            continue
        if view.study_id not in found:
            order.append(view.study_id)
        found.setdefault(view.study_id, []).append((row, view))
    for item in order:
        yield item if isinstance(item, BadRow) else _listed(file, found.pop(item), record_of)


def _check_first(path: str, line: int, first_lines: dict[str, int]) -> None:
    first_line = first_lines.setdefault(path, line)
    if first_line != line:
        raise UnusableRow(f"image repeats that of line {first_line}; remove one of the rows")


def _listed(
    file: str, rows: list[tuple[Row, View]], record_of: Callable[[RowsOfStudy], StudyRecord]
) -> ListedStudy | BadRow:
    first, view = rows[0]
    for row, other in rows:
        if other.patient_id != view.patient_id:
            return BadRow(file, row.line, f"names another patient than line {first.line} of the same study; correct it")
    try:
        record = record_of(RowsOfStudy(view.study_id, view.patient_id, first))
    except UnusableRow as error:
        return BadRow(file, first.line, str(error))
    ordered = sorted(rows, key=lambda pair: rank_of(pair[1].position))
    return ListedStudy(record, file, first.line, tuple(ListedView(row.line, view.path) for row, view in ordered))
