"""Adapter `medpix2`: a pack of MedPix 2.0 CT and MR teaching cases (Siragusa et al. 2024, arXiv:2407.02994).

The pack is a folder with `metadata.csv` (one row an image), `images/` and `splits.csv`. The report is the
image's caption, the patient is the case. The pack names no scanner: the modality (CT or MR) stands in for it,
and the body region in column `site` for a hospital that specialises. It names no date: those that were burned into its
pictures were cut away.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from client.data.interface import Adapter
from client.data.manifest import picture_table
from client.data.rows import DEFAULT_SITE_COLUMN, Row, names_in
from common.types import StudyRecord

REQUIRED = ("image_path", "patient_id", "text", "sex", "age", "race", "modality", "labels", "split_group")
PLACEHOLDER = "replace this"
"""How a caption that its author never wrote begins upstream."""


def medpix2(
    root: Path,
    *,
    allow_burned_in: bool,  # noqa: ARG001 - the pack's footers were cut when it was made
    site_column: str = DEFAULT_SITE_COLUMN,
    pixel_bits: int = 0,  # noqa: ARG001 - the pack's pictures have eight
) -> Adapter:
    """Adapter over `root/metadata.csv`.

    Args:
        root: The folder of the pack.
        allow_burned_in: Without effect: the burned-in footers were cut from the pack's images.
        site_column: Column that names the site, for example `site` (body region) or `contributor`.
        pixel_bits: Without effect: the pack's pictures have eight.
    """

    def record_of(row: Row) -> StudyRecord:
        report = row.get("text") or ""
        who, made = row.demographics, row.acquisition
        return StudyRecord(
            study_id=PurePosixPath(row.require("image_path")).stem,
            patient_id=row.require("patient_id"),
            report="" if report.lower().startswith(PLACEHOLDER) else report,
            sex=who.sex,
            age=who.age,
            race=row.get("race"),
            scanner=row.get("modality"),
            language="English",
            site=row.get(site_column),
            findings=names_in(row.values["labels"]),
            split_group=row.get("split_group") or "",
            unread=(*who.unread, *made.unread),
            modality=made.modality,
        )

    return picture_table(
        root / "metadata.csv",
        required=REQUIRED,
        record_of=record_of,
        report_column="text",
        site_column=site_column,
        pixel_bits=0,
    )
