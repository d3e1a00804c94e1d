"""The indexes of a simulation's hospitals, of its run's own studies: read again, encoded from the run's own cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from client.data.identity import report_digest
from client.data.splits import Role
from client.search.generation import HANDLE_KEY_FILE, alone
from client.search.handles import HandleKey
from client.search.studies import HANDLE, IMAGE_STUDY, IndexedStudies
from client.search.traits import traits_of
from common.model import Model
from simulations.search.opened_run import OpenedRun
from simulations.studies.consortium import Consortium, site_of
from simulations.studies.read import Progress, read_consortium


def studies_of(run: OpenedRun, *, progress: Progress) -> Consortium:
    """The run's studies, read again as its config says; features that the run has cached are not made anew.

    Raises:
        ConfigError: `data` names no studies.
        DataError: They cannot be read.
    """
    return read_consortium(run.ended.config, run.model.encoder, progress=progress)


def own_rows(consortium: Consortium, site: str) -> list[int]:
    """Positions of a hospital's own studies that have both halves."""
    return [
        i
        for i, (record, role) in enumerate(zip(consortium.records, consortium.roles, strict=True))
        if role is not Role.PUBLIC and record.lacks is None and site_of(record) == site
    ]


def build_all(run: OpenedRun, folder: Path, *, progress: Progress) -> dict[str, Any]:
    """Write every hospital's index; what is kept beside them.

    Raises:
        DataError: The run's studies cannot be read.
    """
    consortium, sites = studies_of(run, progress=progress), []
    for number, site in enumerate(consortium.sites):
        rows = own_rows(consortium, site)
        write_index(folder / str(number), site, rows, consortium, run.model)
        records = [consortium.records[i] for i in rows]
        sites.append({"name": site, "findings": {record.study_id: record.findings for record in records}})
    held_out = consortium.held_out_rows(consortium.sites)
    with torch.no_grad():
        seen = run.model.frozen.image(consortium.images[held_out]).to(torch.float32)
    return {"spread": float(seen.std()), "sites": sites}


def write_index(folder: Path, site: str, rows: Sequence[int], consortium: Consortium, model: Model) -> None:
    """Write the index of some of a run's studies, with keys of its own."""
    records = [consortium.records[i] for i in rows]
    nothing = consortium.images[:0]
    images = [torch.cat([consortium.images[[i]], consortium.other_images.get(i, nothing)]) for i in rows]
    with alone(folder, site=site, key=None) as writer:
        key = HandleKey.at(folder / HANDLE_KEY_FILE)
        studies = IndexedStudies(
            handles=np.array([key.of_study(record.study_id) for record in records], HANDLE),
            patients=np.array([key.of_patient(record.patient_id) for record in records], HANDLE),
            contents=np.array([key.of_content(report_digest(record.report)) for record in records], HANDLE),
            names=np.array([record.study_id.encode() for record in records]),
            traits=traits_of(records),
            reports=model.of_text_features(consortium.reports[list(rows)]).codes,
            images=model.of_image_features(torch.cat(images)).codes,
            image_studies=np.repeat(np.arange(len(rows), dtype=IMAGE_STUDY), list(map(len, images))),
        )
        writer.write(
            studies.in_order(),
            withdrawn=np.empty(0, HANDLE),
            model=model.digest,
            bit_width=model.bit_width,
            source="",
        )
