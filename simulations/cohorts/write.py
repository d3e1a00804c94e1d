"""A cohort on disk: a manifest folder with its truth, whole or absent.

`manifest.csv` and `images/` are what the manifest adapter reads; `truth.csv` is what no hospital would have;
`cohort.json` holds the plan and the digests of all of them.
"""

from __future__ import annotations

import csv
import io
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image as PillowImage

from common.canonical import canonical_json, digest
from common.errors import ConfigError, DataError
from common.files import named_in_errors, sha256_hex, sha256_of_file
from common.seeds import numpy_generator
from common.types import Image
from simulations.cohorts.findings import DEVICES, FINDINGS
from simulations.cohorts.patients import PhantomStudy, draw_patient
from simulations.cohorts.plan import PUBLIC, CohortPlan
from simulations.cohorts.render import render_views
from simulations.cohorts.sites import site_profiles

SCHEMA_VERSION = 1
MANIFEST_COLUMNS = (
    "study_id",
    "patient_id",
    "image_path",
    "report",
    "sex",
    "age",
    "race",
    "scanner",
    "site",
    "findings",
    "split_group",
)
Row = dict[str, object]


def write_cohort(plan: CohortPlan, folder: Path) -> Path:
    """Draw the cohort of a plan into a folder, or reuse the folder if it holds that very cohort.

    The cohort is written beside the folder and renamed, so that the folder is whole or absent after a crash.

    Args:
        plan: What to draw.
        folder: Folder to create; one that exists must be empty or hold a cohort of the same plan.

    Returns:
        The folder.

    Raises:
        ConfigError: The folder holds something else; it is left untouched.
        DataError: The folder's cohort is of this plan, but a file was changed or is missing.
    """
    if _is_taken(folder):
        _check_reusable(plan, folder)
        return folder
    draft = folder.parent / f".{folder.name}.{secrets.token_hex(8)}"
    draft.mkdir(parents=True)
    try:
        # Not flushed file by file: what a power cut may damage, the digests find when the folder is reused.
        with named_in_errors(folder):
            _write_files(plan, draft)
        _move(draft, folder, plan)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def draw_cohort(plan: CohortPlan) -> Iterator[PhantomStudy]:
    """The studies of a plan, hospital by hospital and then the public set, without their images."""
    for profile in site_profiles(plan):
        num_patients = plan.public_patients if profile.name == PUBLIC else plan.patients_per_site
        for number in range(1, num_patients + 1):
            yield from draw_patient(profile, number, seed=plan.seed)


def is_unreported(study: PhantomStudy, plan: CohortPlan) -> bool:
    """Whether a study's report is missing, in all of its views; each study's own draw."""
    site = study.patient.site
    if site == PUBLIC or plan.site_names.index(site) % 2:
        return False
    return bool(numpy_generator(plan.seed, "unpaired", study.study_id).random() < plan.unpaired)


def _is_taken(folder: Path) -> bool:
    return folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))


def _move(draft: Path, folder: Path, plan: CohortPlan) -> None:
    """Rename, or make do with the cohort that another process has put there meanwhile."""
    try:
        draft.replace(folder)
    except OSError:
        if not _is_taken(folder):
            raise
        _check_reusable(plan, folder)


def _write_files(plan: CohortPlan, folder: Path) -> None:
    manifest: list[Row] = []
    truth: list[Row] = []
    image_digests: dict[str, str] = {}
    for profile in site_profiles(plan):
        (folder / "images" / profile.name).mkdir(parents=True)
    for study in draw_cohort(plan):
        for position, image in enumerate(render_views(study, size=plan.image_size, seed=plan.seed)):
            row = _manifest_row(study, position) | ({"report": ""} if is_unreported(study, plan) else {})
            image_path, content = str(row["image_path"]), _png(image)
            (folder / image_path).write_bytes(content)
            image_digests[image_path] = sha256_hex(content)
            manifest.append(row)
            truth.append(_truth_row(study, position))
    _write_table(folder / "manifest.csv", manifest)
    _write_table(folder / "truth.csv", truth)
    description = {"schema_version": SCHEMA_VERSION, "plan": plan.description, "num_studies": len(manifest)}
    description |= _digests(folder, image_digests)
    (folder / "cohort.json").write_bytes(canonical_json(description))


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _manifest_row(study: PhantomStudy, position: int) -> Row:
    patient = study.patient
    view_id = study.view_id(position)
    values = (
        view_id,
        patient.patient_id,
        f"images/{patient.site}/{view_id}.png",
        study.report,
        patient.sex,
        patient.age,
        patient.race,
        study.views[position].exposure.scanner,
        patient.site,
        ";".join(study.finding_names),
        patient.patient_id,
    )
    return dict(zip(MANIFEST_COLUMNS, values, strict=True))


def _truth_row(study: PhantomStudy, position: int) -> Row:
    view = study.views[position]
    row: dict[str, object] = {
        "study_id": study.view_id(position),
        "report_id": study.study_id,
        "view": position + 1,
        "habitus": round(study.patient.anatomy.habitus, 4),
    }
    row |= {name: _rounded(value) for name, value in (asdict(view.exposure) | asdict(view.pose)).items()}
    found = {finding.name: finding for finding in study.findings}
    for kind in FINDINGS + DEVICES:
        finding, column = found.get(kind.name), kind.name.replace(" ", "_")
        row[f"{column}_present"] = int(finding is not None)
        if kind.sides:
            row[f"{column}_side"] = finding.side if finding else ""
        if kind.zones:
            row[f"{column}_zone"] = finding.zone if finding else ""
        if kind.graded:
            row[f"{column}_severity"] = finding.severity if finding else ""
    return row


def _rounded(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    return round(value, 4) if isinstance(value, float) else value


def _write_table(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")


def _digests(folder: Path, image_digests: Mapping[str, str]) -> dict[str, str]:
    return {
        "manifest_sha256": sha256_of_file(folder / "manifest.csv"),
        "truth_sha256": sha256_of_file(folder / "truth.csv"),
        "images_sha256": digest(dict(image_digests)),
    }


def _check_reusable(plan: CohortPlan, folder: Path) -> None:
    """Refuse a folder of another plan, or one whose files are not those that were written."""
    file = folder / "cohort.json"
    try:
        held: dict[str, Any] = json.loads(file.read_bytes())
        same_plan = held["schema_version"] == SCHEMA_VERSION and held["plan"] == plan.description
    except (OSError, ValueError, KeyError, TypeError):
        same_plan = False
    if not same_plan:
        raise ConfigError(f"{file}: not a cohort of this plan; name another folder or remove this one")
    images = {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in folder.glob("images/*/*.png")}
    try:
        digests = _digests(folder, images)
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: missing from the cohort; remove the folder and draw it again") from None
    for name, value in digests.items():
        if held.get(name) != value:
            raise DataError(f"{file}: {name} does not match the folder's files; remove the folder and draw it again")
