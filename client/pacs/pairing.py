"""Which studies of an import are ready: those with images and a report, joined by accession number.

A report belongs to an order, not to a study: two studies of one accession number share it, and it may stand in a study
that holds nothing else. An accession number that stands under two patients pairs nothing: one of them would get the
other's report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from client.data.dicom import REQUIRED
from client.pacs.import_folder import ImportFolder
from client.pacs.instances import Contents
from client.pacs.journal import Journal


@dataclass
class Pairing:
    """Counts of what a folder holds.

    Attributes:
        num_ready: Studies with images and a report.
        num_images: Their images.
        num_without_report: Studies with images that wait for a report.
        num_without_images: Studies of which there is a report alone, or nothing that is taken.
        num_without_number: Studies with images that have no accession number, or no patient's identifier.
        num_ambiguous: Studies with images whose accession number stands under several patients.
        num_removed: Studies whose images someone took out of the folder; they are not fetched again.
    """

    num_ready: int = 0
    num_images: int = 0
    num_without_report: int = 0
    num_without_images: int = 0
    num_without_number: int = 0
    num_ambiguous: int = 0
    num_removed: int = 0


def pair(journal: Journal, folder: ImportFolder) -> Pairing:
    """Put each study where it belongs, and write the table of the reports of those that are ready.

    Idempotent; killed anywhere, the next call ends what this one began.
    """
    counts = Pairing()
    more = [name for name in journal.columns() if name not in REQUIRED]
    folder.write_reports((*REQUIRED, *more), _rows(journal, folder, more, counts))
    return counts


def _rows(journal: Journal, folder: ImportFolder, more: Sequence[str], counts: Pairing) -> Iterator[Sequence[str]]:
    for accession, group in groupby(journal.by_accession(), key=lambda found: found[0].accession):
        found = list(group)
        studies, told = [study for study, _ in found], found[0][1] or {}
        report = _report(studies, told) if accession else ""
        patients = {study.patient_id for study in studies if study.patient_id}
        ready = False
        for study in studies:
            paired = bool(report and study.num_images and study.patient_id and len(patients) == 1)
            if study.num_images and not folder.has(study.study_uid):
                counts.num_removed += 1
                continue
            folder.place(study.study_uid, paired=paired)
            ready |= paired
            _count(counts, study, paired=paired, accession=accession, several=len(patients) > 1)
        if ready:
            yield accession, report, *(told.get(name, "") for name in more)


def _report(studies: Sequence[Contents], told: Mapping[str, str]) -> str:
    """The report of an accession number: what the hospital's table says, or else its structured documents."""
    return told.get("report") or "\n\n".join(dict.fromkeys(study.report for study in studies if study.report))


def _count(counts: Pairing, study: Contents, *, paired: bool, accession: str, several: bool) -> None:
    if paired:
        counts.num_ready += 1
        counts.num_images += study.num_images
    elif not study.num_images:
        counts.num_without_images += 1
    elif not (accession and study.patient_id):
        counts.num_without_number += 1
    elif several:
        counts.num_ambiguous += 1
    else:
        counts.num_without_report += 1
