"""A store of prepared studies of any size, made in seconds: its arrays are files with holes, which read as zeros.

Table, index, headers and sizes are those that a preparation writes. What a hole leaves out is the disk: a read costs
what one from the system's cache does. Whether the features are zeros makes no difference to how long a step takes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from client.policy.site_schema import SiteAnchors, SiteBudget, SiteConfig, SiteData
from client.store.index import IMAGES, REPORTS, Index, StoredFile, write_index
from client.store.source import source_digest
from client.store.store import PREPARED_FOLDER, StudyStore
from client.store.table import Contents, TableWriter
from common.config.schema import RunConfig
from common.files import sha256_hex, sha256_of_file
from common.types import Study, StudyRecord

NUM_PUBLIC = 300
STUDIES_A_PATIENT = 3
REPORT = "FINDINGS: The lungs are clear. The heart is of normal size. No effusion and no pneumothorax. " * 8
"""A text as long as a report of a department."""
_AT_ONCE = 1000
_NOTHING = np.zeros((1, 1), np.uint8)

Shapes = dict[str, tuple[tuple[int, ...], type[np.generic]]]
"""Shape and type of a row of each kind."""


def make_store(folder: Path, config: RunConfig, shapes: Shapes, *, num_studies: int) -> SiteConfig:
    """Make a hospital's state folder with its studies prepared.

    Args:
        folder: Empty.
        config: The run's configuration.
        shapes: Of the features.
        num_studies: The hospital's own.

    Raises:
        ConfigError: The run's encoder cannot be had here.
        DataError: The disk is full.
    """
    site = site_of(folder)
    for root in (site.data.root, Path(site.anchors.root)):
        root.mkdir(parents=True)
        (root / "manifest.csv").touch()
    store, prepared = StudyStore(site, config.encoder), site.state_folder / PREPARED_FOLDER
    prepared.mkdir(parents=True)
    table = prepared / f"{store.key}.sqlite"
    with TableWriter.to(table) as writer:
        for start in range(0, NUM_PUBLIC + num_studies, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, NUM_PUBLIC + num_studies))
            studies = [Study(_record(number), _NOTHING) for number in numbers]
            writer.add(studies, list(map(_contents, numbers)))
    arrays = {kind: prepared / f"{store.key}.{kind}.npy" for kind in (IMAGES, REPORTS)}
    for kind, (shape, dtype) in shapes.items():
        npy.open_memmap(arrays[kind], mode="w+", dtype=dtype, shape=(NUM_PUBLIC + num_studies, *shape))
    write_index(
        prepared / f"{store.key}.json",
        Index(
            key=store.key,
            encodings=dict.fromkeys(arrays, "bench"),
            source=source_digest((site.data.root, Path(site.anchors.root)), without=site.state_folder),
            num_public=NUM_PUBLIC,
            num_own=num_studies,
            num_bad_rows=0,
            table=StoredFile.of(table, sha256=sha256_of_file(table)),
            arrays={kind: StoredFile.of(path, sha256="not measured") for kind, path in arrays.items()},
        ),
    )
    return site


def site_of(folder: Path) -> SiteConfig:
    """The hospital of a folder that `make_store` filled."""
    return replace(
        SiteConfig(),
        site="bench",
        state_folder=folder / "state",
        data=SiteData(name="bench", adapter="manifest", root=folder / "studies"),
        budget=SiteBudget(epsilon=20.0, delta=1e-9, epsilon_per_run=20.0),
        anchors=SiteAnchors(root=str(folder / "public"), adapter="manifest"),
    )


def _record(number: int) -> StudyRecord:
    patient = f"patient-{number // STUDIES_A_PATIENT:07d}"
    return StudyRecord(f"study-{number:07d}", patient, f"{number} {REPORT}", sex="FM"[number % 2], age=number % 90)


def _contents(number: int) -> Contents:
    return Contents((sha256_hex(f"image {number}".encode()),), sha256_hex(f"report {number}".encode()))
