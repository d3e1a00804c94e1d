"""The studies of a simulated consortium, encoded: anchors, and each site's private and held-out studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from client.data.remarks import Remarks
from client.data.splits import PUBLIC_SITE, Role
from client.data.unpaired import UnpairedCount
from client.dp.records import PrivateStudies, Records
from client.site import HeldOut
from client.store.rows import StoredRecords, StoredRows
from client.studies import anchors_among, by_patient, halves_of, held_out_among, patient_numbers, private_among
from common.config.schema import LossConfig
from common.encoders.public_fit import AnchorFeatures, FrozenPart
from common.errors import ConfigError
from common.losses.composition import trains_unpaired
from common.types import BadRow, Image, StudyRecord


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

    @property
    def held_out_share(self) -> float:
        """Share of the patients that are held out, of those that another cut might have held out."""
        drawn = [
            (record.patient_id, role)
            for record, role in zip(self.records, self.roles, strict=True)
            if record.site != PUBLIC_SITE
        ]
        return len({patient for patient, role in drawn if role is Role.TEST}) / len({patient for patient, _ in drawn})

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


def site_of(record: StudyRecord) -> str:
    """The site that holds a study; a table without sites is one site's."""
    return record.site or "site"
