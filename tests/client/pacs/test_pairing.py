"""Images and reports are joined by accession number, and never over two patients."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import pytest

from client.data.dicom import REPORTS
from client.pacs.import_folder import ImportFolder
from client.pacs.instances import Contents
from client.pacs.journal import Journal, opened_journal
from client.pacs.pairing import Pairing, pair
from common.errors import ConfigError, DataError

Imported = Callable[[Sequence[Contents]], tuple[Pairing, list[list[str]]]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[ImportFolder]:
    found = ImportFolder(tmp_path / "out")
    with found.opened():
        yield found


@pytest.fixture
def journal(folder: ImportFolder) -> Iterator[Journal]:
    with opened_journal(folder.journal_path) as found:
        yield found


@pytest.fixture
def imported(folder: ImportFolder, journal: Journal) -> Imported:
    """Puts studies in as if they were fetched, and pairs."""

    def put(studies: Sequence[Contents]) -> tuple[Pairing, list[list[str]]]:
        for study in studies:
            here = folder.fetching()
            for number in range(study.num_images):
                (here / f"{number}.dcm").write_bytes(study.study_uid.encode())
            journal.forget(study.study_uid)
            folder.keep(study.study_uid)
            journal.write_down(study, day=date(2024, 1, 31), num_listed=1)
        return pair(journal, folder), _table(folder)

    return put


def _table(folder: ImportFolder) -> list[list[str]]:
    with (folder.root / REPORTS).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def ready(folder: ImportFolder) -> list[str]:
    return sorted(path.name for path in folder.root.iterdir() if path.name not in {".import", REPORTS})


HEADER = ["accession_number", "report"]


def test_studies_of_one_number_share_its_reports(imported: Imported, folder: ImportFolder) -> None:
    counts, table = imported(
        [
            Contents("1", "P", "A", 2, "Chest."),
            Contents("2", "P", "A", 1, ""),
            Contents("3", "P", "A", 0, 'Abdomen.\nSecond line, "quoted".'),
        ]
    )
    assert table == [HEADER, ["A", 'Chest.\n\nAbdomen.\nSecond line, "quoted".']]
    assert counts == Pairing(num_ready=2, num_images=3, num_without_images=1)
    assert ready(folder) == ["1", "2"]


def test_number_of_two_patients_joins_nothing(imported: Imported, folder: ImportFolder) -> None:
    counts, table = imported([Contents("1", "P", "A", 1, "Report."), Contents("2", "Q", "A", 1, "")])
    assert (table, ready(folder)) == ([HEADER], [])
    assert counts == Pairing(num_ambiguous=2)


def test_study_that_turns_out_to_be_ambiguous_is_taken_back(imported: Imported, folder: ImportFolder) -> None:
    imported([Contents("1", "P", "A", 1, "Report.")])
    assert ready(folder) == ["1"]
    _, table = imported([Contents("2", "Q", "A", 1, "")])
    assert (table, ready(folder)) == ([HEADER], [])


@pytest.mark.parametrize(("patient", "number"), [("", "A"), ("P", "")])
def test_study_without_number_or_patient_waits(
    imported: Imported, folder: ImportFolder, patient: str, number: str
) -> None:
    counts, _ = imported([Contents("1", patient, number, 1, "Report.")])
    assert (counts, ready(folder)) == (Pairing(num_without_number=1), [])


def test_study_that_was_fetched_again_takes_the_place_of_the_older_one(
    imported: Imported, folder: ImportFolder
) -> None:
    imported([Contents("1", "P", "A", 2, "Old.")])
    _, table = imported([Contents("1", "P", "A", 1, "New.")])
    assert table == [HEADER, ["A", "New."]]
    assert [path.name for path in (folder.root / "1").iterdir()] == ["0.dcm"]


def test_folder_of_something_else_and_one_in_use_are_refused(tmp_path: Path, folder: ImportFolder) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(ConfigError, match="holds what no import put there"), ImportFolder(tmp_path / "photos").opened():
        pass
    with pytest.raises(ConfigError, match="another import is going on here"), ImportFolder(folder.root).opened():
        pass


def test_journal_that_is_damaged_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match="file is not a database"), opened_journal(path):
        pass
