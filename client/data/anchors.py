"""The public anchors as a hospital has them on its disk: read and encoded, without looking at any other study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from client.data.registry import ADAPTERS
from client.data.splits import Role, read_splits
from common.config.schema import DataConfig
from common.encoders.interface import Encoder
from common.encoders.public_fit import AnchorFeatures
from common.errors import ConfigError, DataError
from common.types import Study, StudyRecord

PUBLIC_SITE = "public"
"""What stands in the site column of a study that is an anchor."""

STUDIES_AT_ONCE = 256


def read_anchors(data: DataConfig, encoder: Encoder) -> AnchorFeatures:
    """Features of the public studies in a data folder, sorted by patient.

    A study is public where its site says so, or its group in the fixed split that `data.split` names. Others are
    skipped as they come: neither kept nor encoded. Rows that cannot be read are skipped too, for whether they are
    public is not known.

    Raises:
        ConfigError: `data.root` is missing, or a name in `data` is unknown.
        DataError: The folder cannot be read, or holds no public study.
    """
    if not data.root:
        raise ConfigError("data.root: missing; name the folder that holds the public studies")
    images: list[Tensor] = []
    reports: list[Tensor] = []
    patients: list[str] = []
    for studies in _batches(_public_studies(data), STUDIES_AT_ONCE):
        images.append(encoder.image_features([study.image for study in studies]))
        reports.append(encoder.report_features([study.record.report for study in studies]))
        patients += [study.record.patient_id for study in studies]
    if not patients:
        raise DataError(
            f"data.root={data.root}: holds no public study; write {PUBLIC_SITE} into the column {data.site_column}, "
            "or name a split with data.split"
        )
    order = sorted(range(len(patients)), key=patients.__getitem__)
    number = {name: position for position, name in enumerate(sorted(set(patients)))}
    numbers = torch.tensor([number[patients[row]] for row in order], dtype=torch.int64)
    return AnchorFeatures(torch.cat(images)[order], torch.cat(reports)[order], numbers)


def _public_studies(data: DataConfig) -> Iterator[Study]:
    adapter = ADAPTERS.load(data.adapter)
    found = adapter(Path(data.root), allow_burned_in=data.allow_burned_in, site_column=data.site_column)
    is_public = _test_of(data)
    return (item for item in found.studies() if isinstance(item, Study) and is_public(item.record))


def _test_of(data: DataConfig) -> Callable[[StudyRecord], bool]:
    if not data.split:
        return lambda record: record.site == PUBLIC_SITE
    roles = read_splits(Path(data.root) / "splits.csv", split=data.split)
    return lambda record: roles.get(record.split_group) is Role.PUBLIC


def _batches(items: Iterator[Study], size: int) -> Iterator[Sequence[Study]]:
    while batch := list(islice(items, size)):
        yield batch
