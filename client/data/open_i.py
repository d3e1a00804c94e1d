"""Adapter `open_i`: Indiana University's chest X-rays on Open-i (Demner-Fushman et al. 2016, doi:10.1093/jamia/ocv080).

Read as the National Library of Medicine publishes them (https://openi.nlm.nih.gov/faq), one XML file a report:

    ecgen-radiology/1.xml ...               of NLMCXR_reports.tgz; here or in NLMCXR_reports/
    NLMCXR_png/CXR1_1_IM-0001-3001.png      of NLMCXR_png.tgz; there or here

The report is its FINDINGS and IMPRESSION; INDICATION and COMPARISON do not describe the images. Findings are the MeSH
headings, major and automatic. The images come in the order of the file, which does not say their views.

**No patient is published.** Each report counts as a patient of its own (`uId`): where a person has two reports, what is
promised to one patient holds for each report alone. Neither sex, age, race, scanner, date nor a split is published.

The files come from outside, so they are parsed without entities, document types or external references.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from client.data.images import first_there
from client.data.interface import Adapter
from client.data.listed import ListedStudies, ListedStudy, ListedView
from client.data.report_text import joined, read_report
from client.data.rows import DEFAULT_SITE_COLUMN
from client.data.view_files import picture_reader
from common.errors import ConfigError, DataError
from common.types import BadRow, StudyRecord, UnusableRow

REPORT_FOLDERS = ("ecgen-radiology", "NLMCXR_reports/ecgen-radiology")
IMAGE_FOLDER = "NLMCXR_png"
SECTIONS = ("FINDINGS", "IMPRESSION")
HEADINGS = ("major", "automatic")
NO_FINDINGS = frozenset({"", "normal", "no indexing"})
"""Headings that name none."""


def open_i(
    root: Path,
    *,
    allow_burned_in: bool,  # noqa: ARG001 - a picture file has no tag that says so
    site_column: str = DEFAULT_SITE_COLUMN,
    pixel_bits: int = 0,
) -> Adapter:
    """Adapter over the folder of Open-i's chest X-rays under `root`.

    Args:
        root: The folder that holds the folders of reports and of pictures.
        allow_burned_in: Without effect: a picture file does not say whether text is burned into it.
        site_column: Only the default: there is no table with a column.
        pixel_bits: Bits of a grey value in pictures of more than eight; the published ones have eight.
    """

    def listed() -> Iterator[ListedStudy | BadRow]:
        if site_column != DEFAULT_SITE_COLUMN:
            raise ConfigError(f"data.site_column={site_column}: data.adapter=open_i has no columns; remove the key")
        return _listed(root)

    return ListedStudies(
        root=root,
        listed=listed,
        read=picture_reader(pixel_bits=pixel_bits),
        written_as=lambda: "XML, one file a report",
        report_remedy="its XML file has neither FINDINGS nor IMPRESSION, and no other brings them",
        image_remedy="its XML file names no parentImage, and no other does",
    )


def _listed(root: Path) -> Iterator[ListedStudy | BadRow]:
    first_files: dict[str, str] = {}
    for path in _reports(root):
        file = path.relative_to(root).as_posix()
        try:
            study = _study(root, file)
        except UnusableRow as error:
            yield BadRow(file, 0, str(error))
            continue
        first = first_files.setdefault(study.record.study_id, file)
        yield study if first == file else BadRow(file, 0, f"uId repeats that of {first}; keep one file")


def _reports(root: Path) -> list[Path]:
    for folder in REPORT_FOLDERS:
        if paths := sorted((root / folder).glob("*.xml")):
            return paths
    raise DataError(f"{root}: {REPORT_FOLDERS[0]}/*.xml cannot be read; set data.root to the folder that holds it")


def _study(root: Path, file: str) -> ListedStudy:
    tree = _parsed(read_report(root, file) or "")
    uid = tree.find(".//uId")
    name = "" if uid is None else uid.get("id", "").strip()
    if not name:
        raise UnusableRow("uId is missing; fetch the file again")
    texts = {part.get("Label", "").strip().upper(): _text(part) for part in tree.iter("AbstractText")}
    headings = (_text(part) for kind in HEADINGS for part in tree.findall(f".//MeSH/{kind}"))
    record = StudyRecord(
        study_id=name,
        patient_id=name,
        report=joined([texts.get(section, "") for section in SECTIONS]),
        language="English",
        findings=tuple(dict.fromkeys(text for text in headings if text.casefold() not in NO_FINDINGS)),
    )
    images = dict.fromkeys(f"{part.get('id', '').strip()}.png" for part in tree.iter("parentImage"))
    views = tuple(ListedView(0, first_there(root, [f"{IMAGE_FOLDER}/{image}", image])) for image in images)
    return ListedStudy(record, file, 0, views)


def _parsed(text: str) -> Element:
    # No text of the parser in these reasons: it may quote the report.
    try:
        tree: Element = fromstring(text.encode(), forbid_dtd=True)
    except DefusedXmlException as error:
        raise UnusableRow("XML declares a document type or entities, which is refused; fetch the file again") from error
    except ParseError as error:
        line, _ = error.position
        raise UnusableRow(f"XML is damaged in line {line}; fetch the file again") from error
    except (ValueError, LookupError) as error:  # an encoding that the parser does not know
        raise UnusableRow("XML is in an unknown encoding; fetch the file again") from error
    return tree


def _text(element: Element) -> str:
    return "".join(element.itertext()).strip()
