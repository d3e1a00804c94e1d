"""The order of an import: paced, settled before it rests, and no worse for a disk that is full."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path

import pytest
from pydicom import Dataset

from client.pacs import import_folder
from client.pacs.faults import ArchiveSilent
from client.pacs.import_folder import ImportFolder
from client.pacs.importing import Done, Import, Wanted
from client.pacs.interface import FoundSeries, FoundStudy
from client.pacs.journal import opened_journal
from client.pacs.landing import Landing
from client.pacs.pace import Pace
from client.pacs.report_table import ReportTable
from client.policy.hours import hours_of
from tests.client.pacs.archive_studies import encoded, image, report
from tests.client.pacs.conftest import Command, records
from tests.client.pacs.lying_archive import lying_archive

FIRST, LAST = date(2024, 1, 30), date(2024, 2, 1)


@dataclass
class ArchiveInMemory:
    """An `Archive` of some instances; `on_fetch` is called before each series."""

    instances: list[Dataset]
    on_fetch: Callable[[str], None] = lambda _: None
    fetched: list[str] = field(default_factory=list)

    def studies_of(self, day: date) -> list[FoundStudy]:
        """See `Archive`."""
        uids = Counter(one.StudyInstanceUID for one in self.instances if one.StudyDate == f"{day:%Y%m%d}")
        return [FoundStudy(uid, num_instances=number) for uid, number in uids.items()]

    def series_of(self, study_uid: str) -> list[FoundSeries]:
        """See `Archive`."""
        found = {one.SeriesInstanceUID: one.Modality for one in self.instances if one.StudyInstanceUID == study_uid}
        series = [FoundSeries(uid, modality, self._num(uid)) for uid, modality in found.items()]
        return series + series  # as archives do that list a study twice

    def fetch(self, study_uid: str, series_uid: str, landing: Landing) -> None:
        """See `Archive`."""
        self.on_fetch(study_uid)
        self.fetched.append(study_uid)
        for one in self.instances:
            if one.SeriesInstanceUID == series_uid:
                landing.land(encoded(one))

    def _num(self, series_uid: str) -> int:
        return sum(one.SeriesInstanceUID == series_uid for one in self.instances)


class Unseen:
    """A `Watcher` that nobody looks at."""

    def at(self, day: date, done: Done) -> None:
        """See `Watcher`."""

    def waits(self, pace: Pace) -> None:
        """See `Watcher`."""


@contextmanager
def importing(folder: Path, archive: ArchiveInMemory, pace: Pace) -> Iterator[Import]:
    place = ImportFolder(folder)
    with place.opened(), opened_journal(place.journal_path) as journal:
        wanted = Wanted(since=FIRST, until=LAST)
        yield Import(
            archive=archive,
            folder=place,
            journal=journal,
            table=ReportTable(),
            wanted=wanted,
            pace=pace,
            watcher=Unseen(),
        )


def test_folder_is_settled_before_the_import_rests(tmp_path: Path) -> None:
    clock = [time(5, 59)]
    there: list[int] = []

    def sleep(_: float) -> None:
        if clock[0] == time(6):
            there.append(len(records(tmp_path / "out")))
            clock[0] = time(22)

    def on_fetch(study_uid: str) -> None:
        if study_uid.endswith(".2"):
            clock[0] = time(6)

    archive = ArchiveInMemory([one for n in (1, 2, 3) for one in (image(n), report(n, "Text."))], on_fetch)
    pace = Pace(1e6, hours_of("22:00-06:00"), sleep=sleep, local_time=lambda: clock[0])
    done = Done()
    with importing(tmp_path / "out", archive, pace) as work:
        work.run(done)
        assert there == [2]
        assert (done.num_fetched, work.settle().num_ready) == (3, 3)


def test_study_of_which_fewer_instances_come_than_were_listed_is_asked_again(tmp_path: Path) -> None:
    archive = ArchiveInMemory([image(1), image(1, instance=2)])
    lost = archive.instances[1]

    def on_fetch(_: str) -> None:
        archive.instances = archive.instances[:1] if not archive.fetched else [archive.instances[0], lost]

    archive.on_fetch = on_fetch
    with importing(tmp_path / "out", archive, Pace(1e6, sleep=lambda _: None)) as work:
        work.run(done := Done())
        assert (done.num_fetched, done.failed, len(archive.fetched)) == (1, [], 2)
        assert work.settle().num_without_report == 1


def test_archive_that_goes_down_ends_the_import_and_keeps_what_came(tmp_path: Path) -> None:
    archive = ArchiveInMemory([image(number) for number in range(1, 10)])

    def on_fetch(study_uid: str) -> None:
        if not study_uid.endswith((".1", ".2")):
            raise ArchiveSilent("not now")

    def studies_of(_: date) -> list[FoundStudy]:
        raise ArchiveSilent("not now either")

    archive.on_fetch = on_fetch
    with importing(tmp_path / "out", archive, Pace(1e6, sleep=lambda _: None)) as work:
        found = archive.studies_of
        archive.studies_of = lambda day: found(day) if len(archive.fetched) < 2 else studies_of(day)  # type: ignore[method-assign]
        with pytest.raises(ArchiveSilent, match="not now either"):
            work.run(done := Done())
        assert (done.num_fetched, len(done.failed)) == (2, 5)


def test_full_disk_is_one_line_and_the_same_command_goes_on(
    import_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed, fsync = [], os.fsync

    def full(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with lying_archive() as archive:
        archive.instances = [one for n in (1, 2) for one in (image(n), report(n, "Text."))]
        monkeypatch.setattr(os, "fsync", full)
        ended = import_("--dicomweb", archive.url)
        assert (ended.code, "make room, and run the same again" in ended.line) == (1, True), ended
        assert import_("--dicomweb", archive.url).code == 0
    assert len(records(tmp_path / "studies")) == 2


def test_studies_are_asked_for_at_the_pace_and_not_all_at_once(tmp_path: Path) -> None:
    waited: list[float] = []
    pace = Pace(30, sleep=waited.append, seconds=lambda: sum(waited))
    with importing(tmp_path / "out", ArchiveInMemory([image(1), image(2), image(3)]), pace) as work:
        work.run(Done())
    assert waited == [2.0, 2.0]


def test_study_that_has_changed_is_not_lost_where_it_takes_the_place_of_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Path, target: Path) -> None:
        shutil.rmtree(target)
        raise InterruptedError

    archive = ArchiveInMemory([image(1)])
    with importing(tmp_path / "out", archive, Pace(1e6, sleep=lambda _: None)) as work:
        work.run(Done())
        archive.instances.append(image(1, instance=2))
        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            patch.setattr(import_folder, "_move", killed)
            work.run(Done())
    with importing(tmp_path / "out", archive, Pace(1e6, sleep=lambda _: None)) as work:
        work.run(done := Done())
        assert (done.num_fetched, work.settle().num_without_report) == (1, 1)
    assert len(list((tmp_path / "out/.import/waiting").rglob("*.dcm"))) == 2
