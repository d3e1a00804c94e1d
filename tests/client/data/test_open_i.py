"""Adapter `open_i`: XML reports from outside, several images each, no patient but the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.data.open_i import open_i
from common.errors import ConfigError
from common.types import BadRow, Lacks, Study, StudyRecord, Unpaired
from tests.client.data.adapters import studies_of
from tests.client.data.trees import SECRETS, greys, reason_of, write_picture, write_text

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


def xml(
    uid: str = "CXR1",
    *,
    images: tuple[str, ...] = ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"),
    findings: str = "Clear\n lungs.",
    impression: str = "<b>No</b> acute process.",
    head: str = "",
) -> str:
    parents = "".join(f'<parentImage id="{image}"><figureId>F1</figureId></parentImage>' for image in images)
    return f"""<?xml version="1.0" encoding="utf-8"?>{head}
    <eCitation><meta type="rr"/><uId id="{uid}"/><MedlineCitation><Article><Abstract>
    <AbstractText Label="COMPARISON">None.</AbstractText><AbstractText Label="INDICATION">Cough</AbstractText>
    <AbstractText Label="FINDINGS">{findings}</AbstractText>
    <AbstractText Label="IMPRESSION">{impression}</AbstractText></Abstract></Article></MedlineCitation>
    <MeSH><major>Cardiomegaly/mild</major><major>normal</major><automatic>heart</automatic></MeSH>{parents}</eCitation>
    """


def read(root: Path) -> list[Study | Unpaired | BadRow]:
    return studies_of(open_i(root, allow_burned_in=False))


def test_open_i_reads_sections_headings_and_images_in_their_order(tmp_path: Path) -> None:
    write_text(tmp_path / "ecgen-radiology/1.xml", xml())
    write_picture(tmp_path / "NLMCXR_png/CXR1_1_IM-0001-3001.png", 10)
    write_picture(tmp_path / "CXR1_1_IM-0001-4001.png", 20)
    (study,) = read(tmp_path)
    assert isinstance(study, Study)
    assert study.record == StudyRecord(
        study_id="CXR1",
        patient_id="CXR1",
        report="Clear lungs.\nNo acute process.",
        findings=("Cardiomegaly/mild", "heart"),
        language="English",
    )
    assert greys(study) == [10, 20]


def test_open_i_reports_that_lack_a_half_are_unpaired(tmp_path: Path) -> None:
    folder = tmp_path / "NLMCXR_reports/ecgen-radiology"
    write_text(folder / "1.xml", xml("CXR1", images=()))
    write_text(folder / "2.xml", xml("CXR2", images=("a",), findings="", impression=" "))
    write_text(folder / "3.xml", xml("CXR3", images=(), findings="", impression=""))
    write_picture(tmp_path / "NLMCXR_png/a.png", 10)
    first, second, neither = read(tmp_path)
    assert isinstance(first, Unpaired)
    assert isinstance(second, Unpaired)
    assert (first.lacks, second.lacks) == (Lacks.IMAGE, Lacks.REPORT)
    assert reason_of(neither).startswith("neither a report nor an image")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (xml(head=BOMB, findings="&b;"), "XML declares a document type or entities, which is refused"),
        (xml(head=OUTSIDE, findings="&a;"), "XML declares a document type or entities, which is refused"),
        (xml(head="<!DOCTYPE x>"), "XML declares a document type or entities, which is refused"),
        (xml(findings=f"{SECRETS[0]}</AbstractText>"), "XML is damaged in line"),
        (xml(findings="&nbsp;"), "XML is damaged in line"),
        ("", "XML is damaged in line 1"),
        ("<a>" * 200_000, "XML is damaged in line 1"),
        ('<?xml version="1.0" encoding="utf-32"?><a/>', "XML is "),
        (xml(""), "uId is missing"),
        (xml(images=("../../outside",)), "image path leaves the data root"),
        (xml(images=("/etc/hostname",)), "image file is missing"),
        (xml(images=("gone",)), "image file is missing"),
        (xml(images=("",)), "image file is missing"),
        (xml("CXR0", images=("a",)), "uId repeats that of ecgen-radiology/0.xml"),
    ],
)
def test_open_i_lists_a_bad_file_and_reads_on(tmp_path: Path, text: str, reason: str) -> None:
    root = tmp_path / "root"
    write_text(root / "ecgen-radiology/0.xml", xml("CXR0", images=("a",)))
    write_text(root / "ecgen-radiology/1.xml", text)
    write_text(root / "ecgen-radiology/2.xml", xml("CXR2", images=("a",)))
    write_picture(root / "NLMCXR_png/a.png", 10)
    write_picture(tmp_path / "outside.png", 20)
    before, found, after = read(root)
    assert isinstance(before, Study)
    assert isinstance(after, Study)
    assert isinstance(found, BadRow)
    assert (found.file, found.row) == ("ecgen-radiology/1.xml", 0)
    assert reason_of(found).startswith(reason)


def test_open_i_has_no_column_for_the_site(tmp_path: Path) -> None:
    write_text(tmp_path / "ecgen-radiology/1.xml", xml())
    with pytest.raises(ConfigError, match=r"data\.site_column=hospital: data\.adapter=open_i has no columns"):
        next(open_i(tmp_path, allow_burned_in=False, site_column="hospital").studies())
