"""Read the studies that a config names: each is decoded once, encoded once, and cut into the sides of the split."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from client.data.features import CachedEncoder, in_batches
from client.data.folder import StudyFolder
from client.data.identity import anchors_digest, content_of, image_digest
from client.data.published_split import PUBLISHED, fixed_roles
from client.data.remarks import remarks_on
from client.data.splits import PUBLIC_SITE, Role, draw_roles
from client.data.unpaired import UnpairedTally, listed_record, with_blank
from common.config.schema import RunConfig
from common.encoders.cache import FeatureCache, cache_folder
from common.encoders.interface import Encoder
from common.errors import DataError
from common.losses.composition import trains_unpaired
from common.privacy.bands import band_of
from common.types import BadRow, Image, Study, StudyRecord, Unpaired
from simulations.studies.consortium import Consortium, site_of
from simulations.studies.merged_sites import merge_sites
from simulations.studies.source import folder_of

MAX_KEPT_IMAGES = 4000

Progress = Callable[[int], None]
Trigger = Callable[[Image], Image]


def read_consortium(
    config: RunConfig, encoder: Encoder, *, progress: Progress, trigger: Trigger | None = None
) -> Consortium:
    """Read and encode the studies that a config names.

    Args:
        config: The run's configuration.
        encoder: Its frozen half is applied to every study, and cached where it names its features.
        progress: Called with the number of studies done so far.
        trigger: What an attack of the run paints on an image; each is then encoded a second time, painted.

    Raises:
        ConfigError: `data.root` is missing, or a name in `data` is unknown.
        DataError: The folder cannot be read, has too many bad rows, or leaves a side of the split empty.
    """
    cached = CachedEncoder(encoder, FeatureCache(cache_folder(config.encoder.cache)))
    folder = folder_of(config)
    left_out = _left_out(config, folder)
    reader = _Reader(config, cached, left_out.studies, trigger)
    for studies in in_batches(folder.studies()):
        reader.add(studies)
        progress(len(reader.records))
    reader.check_bad_rows()
    if not any(record.lacks is None for record in reader.records):
        nothing = reader.unpaired.count.only_problem if reader.unpaired.count else "holds no study that can be read"
        raise DataError(f"data.root={config.data.root}: {nothing}")
    if config.data.merged_sites:
        reader.merge_sites(config.data.merged_sites)
    roles = _roles(config, reader.listed)
    kept = [i for i, record in enumerate(reader.records) if _takes_part(record, roles)]
    found = tuple(roles[reader.records[i].split_group] for i in kept)
    _check_sides(found[position] for position, i in enumerate(kept) if reader.records[i].lacks is None)
    return Consortium(
        images=torch.cat(reader.images)[kept],
        reports=torch.cat(reader.reports)[kept],
        records=tuple(reader.records[i] for i in kept),
        roles=found,
        pictures={
            position: reader.pictures[i]
            for position, i in enumerate(kept)
            if found[position] is Role.TEST and i in reader.pictures
        },
        unpaired=reader.unpaired.count,
        bad_rows=tuple(reader.bad_rows),
        left_out=left_out.sites,
        remarks=remarks_on(reader.listed, roles, written=folder.written()),
        anchors_digest=anchors_digest(
            reader.digests[i] for position, i in enumerate(kept) if found[position] is Role.PUBLIC
        ),
        triggered=torch.cat(reader.triggered)[kept] if reader.triggered else None,
        other_images={position: reader.other_images[i] for position, i in enumerate(kept) if i in reader.other_images},
    )


@dataclass
class _Reader:
    config: RunConfig
    encoder: CachedEncoder
    left_out: frozenset[str]
    trigger: Trigger | None = None
    records: list[StudyRecord] = field(default_factory=list)
    digests: list[tuple[str, str]] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)
    reports: list[Tensor] = field(default_factory=list)
    triggered: list[Tensor] = field(default_factory=list)
    other_images: dict[int, Tensor] = field(default_factory=dict)
    pictures: dict[int, Image] = field(default_factory=dict)
    bad_rows: list[BadRow] = field(default_factory=list)
    unpaired: UnpairedTally = field(default_factory=UnpairedTally)
    not_trained: list[StudyRecord] = field(default_factory=list)
    """Records of unpaired studies that the run's loss does not train on: the cut knows them all the same."""

    @property
    def listed(self) -> list[StudyRecord]:
        """Records of all studies that can be read."""
        return [*self.records, *self.not_trained]

    def merge_sites(self, num_sites: int) -> None:
        merged = merge_sites(self.listed, num_sites=num_sites)
        self.records, self.not_trained = merged[: len(self.records)], merged[len(self.records) :]

    def add(self, items: Sequence[Study | Unpaired | BadRow]) -> None:
        self.bad_rows += [item for item in items if isinstance(item, BadRow)]
        studies = [study for item in items if (study := self._study(item)) is not None]
        if not studies:
            return
        images, reports = [study.image for study in studies], [study.record.report for study in studies]
        names = [content_of(study) for study in studies]
        self.images.append(self.encoder.image_features(images, [image for image, _ in names]))
        self.reports.append(self.encoder.report_features(reports, [report for _, report in names]))
        if self.trigger is not None:
            painted = [self.trigger(image) for image in images]
            self.triggered.append(self.encoder.image_features(painted, [image_digest(image) for image in painted]))
        self._add_other_images(studies)
        for study in studies:
            if len(self.pictures) < MAX_KEPT_IMAGES:
                self.pictures[len(self.records)] = study.image
            self.records.append(study.record)
        self.digests += names

    def _study(self, item: Study | Unpaired | BadRow) -> Study | None:
        """What is to be encoded of an item, where anything is."""
        if isinstance(item, Unpaired):
            self.unpaired.add(item)
        if isinstance(item, BadRow) or item.record.study_id in self.left_out:
            return None
        if isinstance(item, Study):
            return item
        study = with_blank(item)
        if trains_unpaired(self.config.loss):
            return study
        self.not_trained.append(study.record)
        return None

    def _add_other_images(self, studies: Sequence[Study]) -> None:
        others = [image for study in studies for image in study.other_images]
        if not others:
            return
        features = self.encoder.image_features(others, [image_digest(image) for image in others])
        of_each = features.split([len(study.other_images) for study in studies])
        self.other_images |= {len(self.records) + i: rows for i, rows in enumerate(of_each) if len(rows)}

    def check_bad_rows(self) -> None:
        share = len(self.bad_rows) / max(1, len(self.bad_rows) + len(self.records))
        if share > self.config.data.max_bad_fraction:
            first = self.bad_rows[0]
            raise DataError(
                f"{len(self.bad_rows)} rows cannot be read, first {first.file} row {first.row}: {first.reason}; "
                f"mend them, or accept them with data.max_bad_fraction={math.ceil(share * 1000) / 1000}"
            )


@dataclass(frozen=True)
class _LeftOut:
    """Sites of too few patients, with the band of each, and their studies."""

    sites: Mapping[str, str]
    studies: frozenset[str]


def _left_out(config: RunConfig, folder: StudyFolder) -> _LeftOut:
    """Who is left out, by the folder's list alone: before an image is decoded, as is whether the cut can be.

    Raises:
        DataError: The cut leaves a side empty, whatever the images are.
    """
    records = [record for item in folder.records() if (record := listed_record(item)) is not None]
    if config.data.merged_sites:
        records = merge_sites(records, num_sites=config.data.merged_sites)
    patients: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.site != PUBLIC_SITE:
            patients[site_of(record)] |= {record.patient_id} if record.lacks is None else set()
    small = {site: band_of(len(who)) for site, who in sorted(patients.items()) if len(who) < config.data.least_patients}
    kept = [record for record in records if record.site == PUBLIC_SITE or site_of(record) not in small]
    pairs = [record for record in kept if record.lacks is None]
    if pairs:
        roles = _roles(config, kept)
        _check_sides({roles[record.split_group] for record in pairs if record.split_group in roles})
    told = {site: band for site, band in small.items() if patients[site]}
    return _LeftOut(told, frozenset(record.study_id for record in records) - {record.study_id for record in kept})


def _takes_part(record: StudyRecord, roles: Mapping[str, Role]) -> bool:
    """Whether a study has a side; one that lacks a half can be trained on alone, neither measured nor an anchor."""
    role = roles.get(record.split_group)
    return role is Role.TRAIN if record.lacks is not None else role is not None


def _check_sides(found: Iterable[Role]) -> None:
    """Return where there are studies with both halves on each side of the split.

    Raises:
        DataError: One is empty.
    """
    there = set(found)
    for role in Role:
        if role not in there:
            raise DataError(
                f"data.split: no {role} studies; change data.split, data.public_fraction or data.test_fraction"
            )


def _roles(config: RunConfig, records: Sequence[StudyRecord]) -> dict[str, Role]:
    data = config.data
    if data.split:
        roles = fixed_roles(Path(data.root), adapter=data.adapter, split=data.split)
        return _with_anchors(config, records, roles) if data.split == PUBLISHED else roles
    return draw_roles(records, seed=config.seed, public_fraction=data.public_fraction, test_fraction=data.test_fraction)


def _with_anchors(config: RunConfig, records: Sequence[StudyRecord], roles: Mapping[str, Role]) -> dict[str, Role]:
    """A published split, which has no public side, with anchors drawn from its training side alone."""
    train = [record for record in records if roles.get(record.split_group) is Role.TRAIN]
    drawn = draw_roles(train, seed=config.seed, public_fraction=config.data.public_fraction, test_fraction=0.0)
    return {**roles, **drawn}
