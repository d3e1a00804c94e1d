"""An archive that lies: one clear line, nothing outside the folder, and the honest studies are had."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.pacs import dicomweb, landing, web_session
from tests.client.pacs.archive_studies import ROOT, encoded, image, report, study_uid
from tests.client.pacs.conftest import Command, files_of, records
from tests.client.pacs.lying_archive import BOUNDARY, MULTIPART, LyingArchive, Said, entry, listed, lying_archive, sent

LIED_ABOUT, HONEST = 1, 2
SERIES = f"/studies/{study_uid(LIED_ABOUT)}/series/{study_uid(LIED_ABOUT)}.1"
SECRETS = ("Rumpelstiltskin", "P1", "A1", ROOT)
HEAD = b"\r\n--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
SMALL = 100_000


@pytest.fixture
def liar() -> Iterator[LyingArchive]:
    with lying_archive() as found:
        found.instances = [image(LIED_ABOUT), image(HONEST), report(HONEST, "Honest.")]
        yield found


def endless() -> Iterator[bytes]:
    yield HEAD
    yield from itertools.repeat(b"x" * 65536, 1000)


def check_clean(folder: Path, out: str, *, also: tuple[str, ...] = ()) -> None:
    """Nothing was written beside the folder, nothing half in it, and nothing said that names a patient or study."""
    assert [path.name for path in folder.iterdir()] == ["studies"]
    assert set(files_of(folder / "studies")) == {"reports.csv", *also}
    said = out.replace(str(folder), "")
    assert not [secret for secret in SECRETS if secret in said]


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (sent(encoded(image(LIED_ABOUT, StudyInstanceUID=study_uid(3)))), "an instance is of another study"),
        (sent(encoded(image(LIED_ABOUT, SeriesInstanceUID="1.2"))), "an instance is of another study or series"),
        (sent(encoded(image(LIED_ABOUT, SOPInstanceUID="../../1.2"))), "an instance has a SOPInstanceUID that"),
        (sent(encoded(image(LIED_ABOUT)), encoded(image(LIED_ABOUT))), "an instance came twice"),
        (
            sent(encoded(image(LIED_ABOUT)), encoded(image(LIED_ABOUT, instance=2, PatientID="P7"))),
            "its instances name several patients",
        ),
        (sent(b"no DICOM at all"), "the archive's answer is not DICOMweb's"),
        (sent(encoded(image(LIED_ABOUT))[:-700]), "an instance is cut short"),
        (sent(encoded(image(LIED_ABOUT, PixelData=b""))), "an instance is cut short"),
        (sent(encoded(image(LIED_ABOUT)), end=b""), "the archive's answer broke off"),
        (Said([HEAD, b"x" * 10], kind=MULTIPART, length=5000), "the archive does not answer, or its answer broke off"),
        (Said([b"<html>Rumpelstiltskin</html>"], kind="text/html"), "the archive's answer is not DICOMweb's"),
        (Said([], kind=MULTIPART), "the archive's answer broke off"),
        (Said([], status=204), "the archive's answer is not DICOMweb's"),
        (Said([b"Rumpelstiltskin"], status=404), "it is no longer there (404)"),
        (Said([b"Rumpelstiltskin"], status=503), "the archive answers 503"),
        (Said([b"Rumpelstiltskin"], status=406), "the archive will not give it (406)"),
        (lambda: Said(endless(), kind=MULTIPART, length=None), "an instance of more than"),
    ],
)  # fmt: skip
def test_study_that_is_lied_about_is_listed_and_the_others_are_had(
    liar: LyingArchive,
    import_: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lie: Said,
    reason: str,
) -> None:
    monkeypatch.setattr(landing, "MOST_INSTANCE_BYTES", SMALL)
    liar.lies[SERIES] = lie
    ended = import_("--dicomweb", liar.url)
    assert ended.code == 1
    assert "failed.csv: 1 studies could not be fetched" in ended.line
    check_clean(tmp_path, ended.out + ended.err, also=(f"{ROOT}.{HONEST}/{ROOT}.{HONEST}.1.1.dcm",))
    assert [record.report for record in records(tmp_path / "studies")] == ["Findings:\nHonest."]
    with (tmp_path / "studies/.import/failed.csv").open(encoding="utf-8") as file:
        (failed,) = csv.DictReader(file)
    assert failed["study_instance_uid"] == study_uid(LIED_ABOUT)
    assert failed["reason"].startswith(reason)
    assert f"{failed['reason']}: 1" in ended.out


@pytest.mark.parametrize("uid", ["../../etc", "1.2/../..", "1.2%2f..", "", "1" * 65, "1.2\x00"])
def test_uid_with_a_path_in_it_is_never_asked_for(
    liar: LyingArchive, import_: Command, tmp_path: Path, uid: str
) -> None:
    liar.lies["studies"] = listed([entry(StudyInstanceUID=study_uid(HONEST)), {"0020000D": {"Value": [uid]}}])
    ended = import_("--dicomweb", liar.url)
    assert (ended.code, "the archive names it by what is no UID: 3" in ended.out) == (1, True)
    series = f"/studies/{study_uid(HONEST)}/series"
    assert all(path.startswith(series) for path in set(liar.asked) - {"/studies"})
    check_clean(tmp_path, ended.out + ended.err, also=(f"{ROOT}.{HONEST}/{ROOT}.{HONEST}.1.1.dcm",))


def test_series_with_a_path_is_never_asked_for(liar: LyingArchive, import_: Command, tmp_path: Path) -> None:
    liar.lies[f"/studies/{study_uid(LIED_ABOUT)}/series"] = listed([{"0020000E": {"Value": ["1/../../x"]}}])
    ended = import_("--dicomweb", liar.url)
    assert (ended.code, "the archive names a series of it by what is no UID: 1" in ended.out) == (1, True)
    assert not [path for path in liar.asked if ".." in path or path.startswith(SERIES)]
    check_clean(tmp_path, ended.out + ended.err, also=(f"{ROOT}.{HONEST}/{ROOT}.{HONEST}.1.1.dcm",))


@pytest.mark.parametrize(
    ("lie", "code", "line"),
    [
        (Said([b"{"]), 2, "the archive's answer is not DICOMweb's"),
        (listed([1, 2]), 2, "the archive's answer is not DICOMweb's"),
        (listed([{"0020000D": {"Value": 7}}]), 2, "the archive's answer is not DICOMweb's"),
        (Said([], status=401), 2, "--dicomweb: the archive refuses this user (401); look at --login and its rights"),
        (Said([], status=403), 2, "--dicomweb: the archive refuses this user (403); look at --login and its rights"),
        (Said([], status=404), 2, "--dicomweb: there is no DICOMweb at this address (the search is answered 404)"),
        (Said([], status=503), 1, "the archive answers 503"),
    ],
)
def test_search_that_cannot_be_used_is_one_line(
    liar: LyingArchive, import_: Command, tmp_path: Path, lie: Said, code: int, line: str
) -> None:
    liar.lies["studies"] = lie
    ended = import_("--dicomweb", liar.url)
    assert (ended.code, ended.line) == (code, f"wardround: {line}")
    check_clean(tmp_path, ended.out + ended.err)


def test_search_that_never_ends_is_ended(liar: LyingArchive, import_: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "_MOST_OF_A_DAY", 10)
    numbers = itertools.count()
    liar.lies["studies"] = lambda: listed([entry(StudyInstanceUID=f"1.2.{next(numbers)}")])
    assert "lists more than 10 studies of one day" in import_("--dicomweb", liar.url).line
    monkeypatch.setattr(web_session, "_MOST_SEARCH_BYTES", 1000)
    liar.lies["studies"] = Said(itertools.repeat(b"[" * 500, 100), length=None)
    assert "answers a search with more than" in import_("--dicomweb", liar.url).line
    liar.lies["studies"] = listed([entry(StudyInstanceUID=study_uid(HONEST))])  # whatever page is asked for
    assert import_("--dicomweb", liar.url).code == 0


def test_nobody_but_the_archive_is_asked(
    liar: LyingArchive, import_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lying_archive() as other:
        monkeypatch.setenv("http_proxy", other.url)
        assert import_("--dicomweb", liar.url).code == 0
        liar.lies["studies"] = Said(status=302, headers=(("Location", f"{other.url}/studies"),))
        ended = import_("--dicomweb", liar.url)
        assert (ended.code, "sends on to another address" in ended.line) == (2, True)
        assert not other.asked
    check_clean(tmp_path, ended.out + ended.err, also=(f"{ROOT}.{HONEST}/{ROOT}.{HONEST}.1.1.dcm",))


def test_archive_that_is_not_there_is_one_line(import_: Command) -> None:
    ended = import_("--dicomweb", "http://127.0.0.1:1")
    assert (ended.code, ended.line) == (1, "wardround: the archive does not answer, or its answer broke off")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom leaves its socket open then
def test_archive_that_is_not_there_over_dimse_is_one_line(import_: Command) -> None:
    ended = import_("--aet", "PACS@127.0.0.1:1")
    assert (ended.code, ended.line) == (1, "wardround: the archive does not answer at --aet")


def test_archive_that_never_gives_a_study_is_given_up_and_one_that_goes_on_later_is_taken_up(
    liar: LyingArchive, import_: Command, tmp_path: Path
) -> None:
    liar.instances = [image(number) for number in range(1, 9)]
    for number in range(1, 9):
        liar.lies[f"{study_uid(number)}.1"] = Said(status=503)
    ended = import_("--dicomweb", liar.url)
    assert (ended.code, ended.line) == (
        1,
        "wardround: no study comes, after 5: the archive answers 503; see to it, and give the same again",
    )
    del liar.lies[f"{study_uid(8)}.1"]
    (tmp_path / "studies/.import/journal.sqlite3").unlink()
    liar.instances.insert(0, image(9))
    ended = import_("--dicomweb", liar.url)
    assert (ended.code, "fetched now: 2" in ended.out, "the archive answers 503: 7" in ended.out) == (1, True, True)
