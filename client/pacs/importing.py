"""The import itself: day after day, study after study, each fetched once, whatever way the archive is asked.

The order for one study: its series are asked for, those that are wanted land in the folder of the study in flight, all
of them are looked at, the folder gets its place, and then the journal says so. Pairing follows at the end, and whenever
the hours end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Protocol

from client.pacs.faults import ArchiveSilent, StudyRefused
from client.pacs.import_folder import ImportFolder
from client.pacs.instances import Contents, look_at
from client.pacs.interface import REPORT_MODALITY, Archive, FoundSeries, FoundStudy, is_uid
from client.pacs.journal import Journal
from client.pacs.landing import Landing
from client.pacs.pace import Pace
from client.pacs.pairing import Pairing, pair
from client.pacs.report_table import ReportTable

MOST_SILENT = 5
"""Studies in a row that the archive does not give, after which it is asked whether it is up at all."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be imported.

    Attributes:
        since: First day.
        until: Last day.
        modalities: Of the series; all where it is empty. Reports come in any case.
        limit: Most studies that are fetched now; None for all.
    """

    since: date
    until: date
    modalities: frozenset[str] = frozenset()
    limit: int | None = None

    def days(self) -> Iterator[date]:
        """Each day, the first one first."""
        for number in range((self.until - self.since).days + 1):
            yield self.since + timedelta(days=number)

    def takes(self, modalities: frozenset[str]) -> bool:
        """Whether a study of these modalities may hold something that is wanted; a report may stand alone in one."""
        if not self.modalities or not modalities or modalities == {REPORT_MODALITY}:
            return True
        return not modalities.isdisjoint(self.modalities)

    def takes_series(self, modality: str) -> bool:
        """Whether a series is wanted."""
        return not self.modalities or modality in {*self.modalities, REPORT_MODALITY, ""}


@dataclass
class Done:
    """What one run of the import did.

    Attributes:
        num_fetched: Studies.
        failed: Studies that were not had: as the archive names them, their day, and why.
    """

    num_fetched: int = 0
    failed: list[tuple[str, str, str]] = field(default_factory=list)


class Watcher(Protocol):
    """Whoever looks on."""

    def at(self, day: date, done: Done) -> None:
        """A day was begun, or a study of it is done."""
        ...

    def waits(self, pace: Pace) -> None:
        """The hours have ended."""
        ...


@dataclass(frozen=True, kw_only=True)
class Import:
    """An import.

    Attributes:
        archive: What is asked.
        folder: Where it goes, held alone.
        journal: What was done before.
        table: The hospital's own reports.
        wanted: What is to be had.
        pace: How fast.
        watcher: Who looks on.
    """

    archive: Archive
    folder: ImportFolder
    journal: Journal
    table: ReportTable
    wanted: Wanted
    pace: Pace
    watcher: Watcher

    def run(self, done: Done) -> None:
        """Fetch what is not here yet.

        Args:
            done: Is filled as it goes, so that it holds what was done whatever ends this.

        Raises:
            ArchiveSilent: The archive is down.
            ConfigError, TrustError: It will not answer before a person has changed something.
            OSError: The disk is full.
        """
        silent = 0
        for day, study in self._found(done):
            if self.wanted.limit is not None and done.num_fetched >= self.wanted.limit:
                return
            self._wait()
            try:
                contents = self.pace.tried(lambda uid=study.uid: self._fetched(uid))  # type: ignore[misc]
            except (ArchiveSilent, StudyRefused) as error:
                done.failed.append((study.uid, day.isoformat(), str(error)))
                silent = silent + 1 if isinstance(error, ArchiveSilent) else 0
                if silent >= MOST_SILENT:
                    self._check_up(day, str(error))
                    silent = 0
            else:
                silent = 0
                self.journal.forget(study.uid)  # of one that has changed: the older images go before the newer come
                self.folder.keep(study.uid)
                self.journal.write_down(contents, day=day, num_listed=study.num_instances)
                done.num_fetched += 1
            self.watcher.at(day, done)

    def settle(self) -> Pairing:
        """Join what is here with its reports, so that the folder can be used as it is."""
        self.journal.keep_rows(self.table.rows)
        return pair(self.journal, self.folder)

    def _found(self, done: Done) -> Iterator[tuple[date, FoundStudy]]:
        """Studies that are wanted and not here, or were other when they came here."""
        for day in self.wanted.days():
            self._wait_for_hours()
            self.watcher.at(day, done)
            for study in self.pace.tried(lambda day=day: self.archive.studies_of(day)):  # type: ignore[misc]
                if not is_uid(study.uid):
                    done.failed.append(("", day.isoformat(), "the archive names it by what is no UID"))
                elif self.wanted.takes(study.modalities) and not self._is_here(study):
                    yield day, study

    def _check_up(self, day: date, said: str) -> None:
        """Check that the archive answers a search, and has ever given a study; else all would fail, one by one.

        Raises:
            ArchiveSilent: It is down, or does not let us fetch.
        """
        self.archive.studies_of(day)
        if self.journal.is_empty:
            raise ArchiveSilent(f"no study comes, after {MOST_SILENT}: {said}; see to it, and give the same again")

    def _is_here(self, study: FoundStudy) -> bool:
        listed = self.journal.listed(study.uid)
        if listed is None:
            return False
        removed = listed.num_images > 0 and not self.folder.has(study.uid)
        return removed or study.num_instances in {None, listed.num_instances}

    def _fetched(self, study_uid: str) -> Contents:
        folder = self.folder.fetching()
        landed = {}
        for number, series in enumerate(self._series(study_uid)):
            landing = Landing(folder, f"series-{number}")
            self.archive.fetch(study_uid, series.uid, landing)
            if series.num_instances is not None and len(landing.paths) < series.num_instances:
                raise ArchiveSilent("the archive sent fewer instances than it listed")
            landed[series.uid] = landing.paths
        return look_at(study_uid, landed)

    def _series(self, study_uid: str) -> list[FoundSeries]:
        listed = {found.uid: found for found in self.archive.series_of(study_uid)}
        series = [found for found in listed.values() if self.wanted.takes_series(found.modality)]
        if not all(is_uid(found.uid) for found in series):
            raise StudyRefused("the archive names a series of it by what is no UID")
        return series

    def _wait(self) -> None:
        self._wait_for_hours()
        self.pace.wait_for_turn()

    def _wait_for_hours(self) -> None:
        if not self.pace.is_open:
            self.settle()
            self.watcher.waits(self.pace)
            self.pace.wait_for_hours()
