"""From a real archive, each way that it may be asked, into a folder that the adapter reads."""

from __future__ import annotations

import stat
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import RLELossless

import wardround
from client.data.dicom import dicom
from client.pacs.credentials import VARIABLE
from client.store.source import source_digest
from common.types import Study
from tests.client.pacs import orthanc as archives
from tests.client.pacs.archive_studies import image, report, study_uid
from tests.client.pacs.conftest import Command, records
from tests.client.pacs.orthanc import PASSWORD, USER, Orthanc

PAIRED = range(1, 6)
ALONE = 7
"""A study without a report."""

WAYS = ("dicomweb", "c-get", "c-move")


@pytest.fixture(autouse=True)
def _login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{USER}:{PASSWORD}")


def way(name: str, orthanc: Orthanc) -> list[str]:
    """Options that ask an archive one way."""
    if name == "dicomweb":
        return ["--dicomweb", orthanc.url]
    return ["--aet", orthanc.aet, *(["--listen", str(orthanc.listen_port)] if name == "c-move" else [])]


def fill(orthanc: Orthanc) -> None:
    """Five studies of two images with a report, one without, and what is not wanted."""
    for number in PAIRED:
        first = image(number)
        first.compress(RLELossless, generate_instance_uid=False)
        orthanc.store(first, image(number, instance=2))
        orthanc.store(report(number, f"Größe normal, Befund {number}.", SpecificCharacterSet="ISO_IR 192"))
    orthanc.store(image(ALONE), image(8, StudyDate="20230101"), report(9, "No image."))


@pytest.mark.parametrize("name", WAYS)
def test_import_gives_a_folder_that_the_adapter_and_site_check_read(
    orthanc: Orthanc,
    import_: Command,
    tmp_path: Path,
    name: str,
    site_yaml: dict[str, Any],
    write_site: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(orthanc)
    ended = import_(*way(name, orthanc))
    assert (ended.code, ended.err) == (0, "")
    folder = tmp_path / "studies"
    found = records(folder)
    assert Counter(record.patient_id for record in found) == {f"P{number}": 2 for number in PAIRED}
    assert {record.patient_id: record.report for record in found} == {
        f"P{number}": f"Findings:\nGröße normal, Befund {number}." for number in PAIRED
    }
    assert {(record.sex, record.age) for record in found} == {("F", 45)}
    first = next(iter(dicom(folder, allow_burned_in=False).studies()))
    assert isinstance(first, Study)
    sent = np.frombuffer(image(1).PixelData, np.uint16).astype(float)
    np.testing.assert_array_equal(first.image.ravel(), np.rint(255 * sent / sent.max()))
    assert "waiting for a report (--reports, or import again when it is written): 1" in ended.out
    assert "without an image that is taken: 1" in ended.out

    site_yaml["data"] = {"name": "chest", "adapter": "dicom", "root": "studies"}
    monkeypatch.setattr(sys, "argv", ["wardround", "site", "check", "--config", str(write_site(site_yaml))])
    with pytest.raises(SystemExit) as checked:
        wardround.main()
    assert checked.value.code == 0


def test_import_again_asks_for_no_study_and_changes_no_file(orthanc: Orthanc, import_: Command, tmp_path: Path) -> None:
    fill(orthanc)
    import_(*way("dicomweb", orthanc))
    folder = tmp_path / "studies"
    before, source = _times(folder), source_digest([folder], without=tmp_path / "state")
    again = import_(*way("c-get", orthanc))
    assert (again.code, "fetched now: 0\n" in again.out) == (0, True)
    assert before == _times(folder)
    assert source == source_digest([folder], without=tmp_path / "state"), "or all would be prepared anew"


def _times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if ".import" not in path.parts}


def test_import_adds_what_is_new_a_late_report_and_a_report_of_the_hospital_s_table(
    orthanc: Orthanc, import_: Command, tmp_path: Path
) -> None:
    orthanc.store(image(1), image(2), report(2, "Old."))
    assert import_(*way("dicomweb", orthanc)).code == 0
    assert [record.patient_id for record in records(tmp_path / "studies")] == ["P2"]

    orthanc.store(report(1, "Late."), image(3))
    table = tmp_path / "reports.csv"
    table.write_bytes("Accession_Number;report;race\nA2;Größer;white\nA3;New.;\nA9;Elsewhere;\n;x;\n".encode("cp1252"))
    ended = import_(*way("dicomweb", orthanc), "--reports", table)
    assert (ended.code, "fetched now: 2\n" in ended.out) == (0, True)
    assert "Rows of the table that give no report: 1 (line 5: accession_number is empty)" in ended.out
    found = {record.patient_id: (record.report, record.race) for record in records(tmp_path / "studies")}
    expected = {"P1": ("Findings:\nLate.", None), "P2": ("Größer", "white"), "P3": ("New.", None)}
    assert found == expected
    assert import_(*way("dicomweb", orthanc)).code == 0, "without the table"
    assert {r.patient_id: (r.report, r.race) for r in records(tmp_path / "studies")} == expected
    assert b"Elsewhere" not in (tmp_path / "studies/.import/journal.sqlite3").read_bytes()


@pytest.mark.parametrize("name", ["dicomweb", "c-get"])
def test_import_takes_the_wanted_modalities_and_no_more_studies_than_the_limit(
    orthanc: Orthanc, import_: Command, tmp_path: Path, name: str
) -> None:
    orthanc.store(image(1), image(1, series=2, Modality="PR"), report(1, "Yes."))
    orthanc.store(image(2, Modality="CT"), image(3), report(3, "Also."))
    first = import_(*way(name, orthanc), "--modality", "cr,dx", "--limit", "1")
    second = import_(*way(name, orthanc), "--modality", "DX,CR")
    assert ["fetched now: 1\n" in ended.out for ended in (first, second)] == [True, True]
    images = {record.study_id for record in records(tmp_path / "studies")}
    assert images == {f"{study_uid(number)}.1.1" for number in (1, 3)}
    other = import_(*way(name, orthanc), "--modality", "CT")
    assert (other.code, other.line) == (
        2,
        "wardround: --modality: this folder was begun with CR,DX; give the same, or another --out",
    )


def test_what_was_taken_out_of_the_folder_stays_out(orthanc: Orthanc, import_: Command, tmp_path: Path) -> None:
    fill(orthanc)
    import_(*way("dicomweb", orthanc))
    folder = tmp_path / "studies" / study_uid(1)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    orthanc.store(image(1, instance=3))
    ended = import_(*way("dicomweb", orthanc))
    assert "taken out of the folder, and stay out: 1" in ended.out
    assert {record.patient_id for record in records(tmp_path / "studies")} == {f"P{number}" for number in range(2, 6)}


def test_a_folder_of_an_import_is_its_owner_s_alone(orthanc: Orthanc, import_: Command, tmp_path: Path) -> None:
    fill(orthanc)
    import_(*way("dicomweb", orthanc))
    modes = {stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "studies").rglob("*") if path.is_file()}
    assert modes == {0o600}
    folders = [path for path in (tmp_path / "studies").rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "studies", *folders]} == {0o700}


def test_archive_that_refuses_the_user_is_one_line(
    orthanc: Orthanc, import_: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"{USER}:wrong")
    ended = import_(*way("dicomweb", orthanc))
    assert ended.code == 2
    assert ended.line == ("wardround: --dicomweb: the archive refuses this user (401); look at --login and its rights")


def test_archive_without_c_get_and_with_a_wrong_title_are_one_line(import_: Command, tmp_path: Path) -> None:
    if (reason := archives.why_not()) is not None:
        pytest.skip(reason)
    folder = tmp_path / "archive"
    folder.mkdir()
    with archives.running(folder, offers_get=False) as closed:
        closed.store(*map(image, range(1, 6)), *(report(number, "Text.") for number in range(1, 6)))
        ended = import_(*way("c-get", closed))
        assert ended.code == 1
        assert ended.line == (
            "wardround: no study comes, after 5: the archive ended the connection at a C-GET; it may not let WARDROUND "
            "do it; see to it, and give the same again"
        )
        stranger = import_(*way("c-move", closed), "--own-aet", "STRANGER")
        assert stranger.code == 1
        assert stranger.line.endswith("ended the connection at a search; it may not let STRANGER do it")
        assert import_(*way("c-move", closed), "--limit", "1").code == 0
    assert len(records(tmp_path / "studies")) == 1
