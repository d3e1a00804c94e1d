"""The studies of a simulated consortium: read once, encoded once, cut into anchors, private and held-out studies."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from client.data.features import CachedEncoder, in_batches
from client.data.folder import StudyFolder
from client.data.identity import anchors_digest, content_of, image_digest
from client.data.published_split import PUBLISHED, fixed_roles
from client.data.remarks import Remarks, remarks_on
from client.data.rows import DEFAULT_SITE_COLUMN
from client.data.splits import PUBLIC_SITE, Role, draw_roles
from client.data.unpaired import UnpairedCount, UnpairedTally, listed_record, with_blank
from client.dp.records import PrivateStudies, Records
from client.site import HeldOut
from client.store.rows import StoredRecords, StoredRows
from client.studies import anchors_among, by_patient, halves_of, held_out_among, patient_numbers, private_among
from common.canonical import digest
from common.config.schema import LossConfig, RunConfig
from common.encoders.cache import FeatureCache, cache_folder
from common.encoders.interface import Encoder
from common.encoders.public_fit import AnchorFeatures, FrozenPart
from common.errors import ConfigError, DataError
from common.losses.composition import trains_unpaired
from common.privacy.bands import band_of
from common.types import BadRow, Image, Study, StudyRecord, Unpaired
from simulations.cohorts.plan import CohortPlan
from simulations.studies.merged_sites import merge_sites

MAX_KEPT_IMAGES = 4000

Progress = Callable[[int], None]
Trigger = Callable[[Image], Image]


@dataclass(frozen=True)
class Consortium:
    """Every study of every site, encoded.

    Attributes:
        images: Features `[N, ...]` of the first image of each.
        reports: Report features `[N, ...]`.
        records: Their records, N of them.
        roles: On which side of the split each stands.
        pictures: Grey images of held-out studies by position, for examples in the report.
        unpaired: Studies that lack their report or image; those of training patients are here where the loss trains on
            them, each with a blank for what it lacks.
        bad_rows: Rows that could not be read.
        left_out: Sites of too few patients to take part, and the band of each; none of their studies is here.
        remarks: What was noticed of the table.
        anchors_digest: Digest of the public studies.
        triggered: Features of the same images with the trigger of the run's attack, `[N, ...]`; None without one.
        other_images: Features `[R, ...]` of the further images of those studies that have some, by position.
    """

    images: Tensor
    reports: Tensor
    records: tuple[StudyRecord, ...]
    roles: tuple[Role, ...]
    pictures: dict[int, Image]
    unpaired: UnpairedCount
    bad_rows: tuple[BadRow, ...]
    left_out: Mapping[str, str]
    remarks: Remarks
    anchors_digest: str
    triggered: Tensor | None = None
    other_images: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites that hold private studies, sorted."""
        return tuple(sorted({self._site(i) for i, role in enumerate(self.roles) if role is Role.TRAIN}))

    def public(self) -> AnchorFeatures:
        """All public studies."""
        return anchors_among(self, (i for i, role in enumerate(self.roles) if role is Role.PUBLIC))

    def private(self, sites: Sequence[str]) -> PrivateStudies:
        """The training studies of some sites together, sorted by patient."""
        rows = by_patient(self.records, self._rows(Role.TRAIN, sites))
        if self.other_images.keys().isdisjoint(rows):
            return private_among(self, rows)
        nothing = self.images[:0]
        return StoredRecords(
            StoredRows.in_memory([torch.cat([self.images[[i]], self.other_images.get(i, nothing)]) for i in rows]),
            StoredRows.in_memory([self.reports[[i]] for i in rows]),
            patient_numbers(self.records, rows),
            halves=halves_of(self.records[i] for i in rows),
        )

    def trained_by(self, loss: LossConfig) -> Consortium:
        """The same studies, but for the unpaired ones where the loss does not train on them."""
        if trains_unpaired(loss):
            return self
        kept = [i for i, record in enumerate(self.records) if record.lacks is None]
        if len(kept) == len(self.records):
            return self
        return self._among(kept)

    def private_records(self, sites: Sequence[str]) -> list[StudyRecord]:
        """The records of the same studies, in their order."""
        return [self.records[i] for i in by_patient(self.records, self._rows(Role.TRAIN, sites))]

    def private_with_first_images(self, sites: Sequence[str]) -> Records:
        """Those of the same studies that have both halves, with one image each."""
        rows = (i for i in self._rows(Role.TRAIN, sites) if self.records[i].lacks is None)
        return private_among(self, rows)

    def held_out(self, sites: Sequence[str]) -> HeldOut:
        """The held-out studies of some sites together, in the data's order."""
        return held_out_among(self, self.held_out_rows(sites))

    def held_out_rows(self, sites: Sequence[str]) -> list[int]:
        """Positions of the held-out studies of some sites."""
        return list(self._rows(Role.TEST, sites))

    def encoded_by(self, frozen: FrozenPart, *, device: str) -> Consortium:
        """The same studies as a model's frozen part sees them."""
        images, reports = frozen.features_of(self.images.to(device), self.reports.to(device))
        triggered = None
        if self.triggered is not None:
            triggered = frozen.features_of(self.triggered.to(device), self.reports.to(device))[0].cpu()
        with torch.no_grad():
            others = {i: frozen.image(rows.to(device)).cpu() for i, rows in self.other_images.items()}
        return replace(self, images=images.cpu(), reports=reports.cpu(), triggered=triggered, other_images=others)

    def with_trigger(self) -> Consortium:
        """The same studies, each image with the trigger of the run's attack.

        Raises:
            ConfigError: The attack has none.
        """
        if self.triggered is None:
            raise ConfigError("attack.name: paints no trigger on an image; use attack.name=backdoor")
        return replace(self, images=self.triggered, other_images={})

    def _among(self, kept: Sequence[int]) -> Consortium:
        """Some of the studies."""
        return replace(
            self,
            images=self.images[kept],
            reports=self.reports[kept],
            records=tuple(self.records[i] for i in kept),
            roles=tuple(self.roles[i] for i in kept),
            pictures={at: self.pictures[i] for at, i in enumerate(kept) if i in self.pictures},
            triggered=None if self.triggered is None else self.triggered[kept],
            other_images={at: self.other_images[i] for at, i in enumerate(kept) if i in self.other_images},
        )

    def _rows(self, role: Role, sites: Sequence[str]) -> Iterator[int]:
        wanted = set(sites)
        return (i for i, found in enumerate(self.roles) if found is role and self._site(i) in wanted)

    def _site(self, position: int) -> str:
        return site_of(self.records[position])


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


def site_of(record: StudyRecord) -> str:
    """The site that holds a study; a table without sites is one site's."""
    return record.site or "site"


def folder_of(config: RunConfig) -> StudyFolder:
    """Where the studies are; a synthetic cohort is drawn where it is not there yet."""
    data = config.data
    if data.adapter != "synthetic" and not data.root:
        raise ConfigError(f"data.root: missing; data.adapter={data.adapter} needs the folder of the studies")
    is_drawn = data.adapter == "synthetic"
    return StudyFolder(
        root=_synthetic_folder(config) if is_drawn else Path(data.root),
        adapter="manifest" if is_drawn else data.adapter,
        site_column=DEFAULT_SITE_COLUMN if is_drawn else data.site_column,
        allow_burned_in=data.allow_burned_in,
        pixel_bits=data.pixel_bits,
        same_patients=data.same_patients,
    )


def cohort_plan(config: RunConfig) -> CohortPlan:
    """The plan of a config's synthetic cohort."""
    synthetic = config.data.synthetic
    return CohortPlan(**(vars(synthetic) | {"planted": tuple(synthetic.planted)}))


def _synthetic_folder(config: RunConfig) -> Path:
    from simulations.cohorts.write import write_cohort

    plan = cohort_plan(config)
    return write_cohort(plan, cache_folder(config.encoder.cache) / "cohorts" / digest(plan.description)[:16])


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
