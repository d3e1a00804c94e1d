"""Studies as a layout lists them, read: the way that every layout of files named by a list shares.

A layout says what it lists, study by study; here the files that it names are found and decoded, and each listed study
becomes one `Study`, `Unpaired` or `BadRow`. A study with one view missing or damaged is a bad row, not a study with a
view less: what a model learns of a patient shall not depend on which file broke.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from client.data.images import locate
from client.data.view_files import ReadView, ViewImage
from client.data.view_order import rank_of
from common.types import BadRow, Lacks, Study, StudyRecord, Unpaired, UnusableRow


class ListedView(NamedTuple):
    """One image of a study as it is listed.

    Attributes:
        row: 1-based line that lists it; 0 where its list has no lines.
        path: Its file, relative to the data root.
    """

    row: int
    path: str


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """One study as it is listed, no image of it read.

    Attributes:
        record: What is known of it; its report is "" where it has none.
        file: What lists it, relative to the data root.
        row: 1-based line of its first mention there; 0 where the file has no lines.
        views: Its images; none where the data set names none.
    """

    record: StudyRecord
    file: str
    row: int
    views: tuple[ListedView, ...]


@dataclass(frozen=True, kw_only=True)
class ListedStudies:
    """The adapter of a layout that lists its studies.

    Attributes:
        root: The data folder, which no image may leave.
        listed: Lists the studies, and what of the list can become none; called anew for each pass.
        read: Reads one view.
        written_as: Says how the list is written.
        report_remedy: What would bring a report to a study that has none.
        image_remedy: What would bring an image.
    """

    root: Path
    listed: Callable[[], Iterator[ListedStudy | BadRow]]
    read: ReadView
    written_as: Callable[[], str]
    report_remedy: str
    image_remedy: str

    def written(self) -> str:
        """See `Adapter`."""
        return self.written_as()

    def records(self) -> Iterator[StudyRecord | Unpaired | BadRow]:
        """See `Adapter`."""
        for item in self.listed():
            found = self._located(item)
            yield found if isinstance(found, BadRow) else self._unpaired(found[0]) or found[0].record

    def studies(self) -> Iterator[Study | Unpaired | BadRow]:
        """See `Adapter`."""
        return map(self._read, self.listed())

    def named(self, study_ids: Set[str]) -> Iterator[Study | Unpaired | BadRow]:
        """See `Adapter`."""
        for item in self.listed():
            if isinstance(item, ListedStudy) and item.record.study_id in study_ids:
                yield self._read(item)

    def _read(self, item: ListedStudy | BadRow) -> Study | Unpaired | BadRow:
        found = self._located(item)
        return found if isinstance(found, BadRow) else self._study(*found)

    def _located(self, item: ListedStudy | BadRow) -> tuple[ListedStudy, tuple[Path, ...]] | BadRow:
        """The files of a study's views."""
        if isinstance(item, BadRow):
            return item
        if not (item.record.report or item.views):
            return BadRow(item.file, item.row, "neither a report nor an image; fill one in, or remove it")
        paths = []
        for view in item.views:
            try:
                paths.append(locate(self.root, view.path))
            except UnusableRow as error:
                return BadRow(item.file, view.row, str(error))
        return item, tuple(paths)

    def _unpaired(self, item: ListedStudy) -> Unpaired | None:
        """The study, where it lacks a half."""
        if not item.views:
            return Unpaired(item.record, Lacks.IMAGE, self.image_remedy)
        return None if item.record.report else Unpaired(item.record, Lacks.REPORT, self.report_remedy)

    def _study(self, item: ListedStudy, paths: tuple[Path, ...]) -> Study | Unpaired | BadRow:
        views: list[ViewImage] = []
        for listed, path in zip(item.views, paths, strict=True):
            try:
                views.append(self.read(path))
            except UnusableRow as error:
                return BadRow(item.file, listed.row, str(error))
        images = tuple(view.image for view in sorted(views, key=lambda view: rank_of(view.position)))
        if (unpaired := self._unpaired(item)) is not None:
            return replace(unpaired, images=images)
        return Study(item.record, images[0], images[1:])
