"""A hospital's own studies for a run: prepared, and cut as `wardround site check` cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from client.check.dry_run import delta_problems
from client.check.site_cut import SiteCut, cut_site
from client.data.splits import Role
from client.data.unpaired import UnpairedCount, UnpairedTally, listed_record
from client.policy.site_schema import SiteConfig
from client.site import HeldOut
from client.store.rows import StoredRecords, StoredRows
from client.store.store import Prepared
from client.studies import by_patient, halves_of, patient_numbers
from common.config.schema import LossConfig
from common.encoders.public_fit import FrozenPart
from common.errors import DataError
from common.losses.composition import trains_unpaired
from common.privacy.bands import band_of
from common.types import BadRow, StudyRecord, Unpaired


@dataclass(frozen=True, kw_only=True)
class OwnStudies:
    """Every study of a hospital, encoded, on its disk.

    Attributes:
        prepared: The studies.
        images: Image features `[N, ...]`, as the model sees them.
        reports: Report features `[N, ...]`.
        cut: On which side each stands.
        loss: Of the run, which trains on unpaired studies or does not.
    """

    prepared: Prepared
    images: StoredRows
    reports: StoredRows
    cut: SiteCut
    loss: LossConfig

    @classmethod
    def of(cls, site: SiteConfig, prepared: Prepared, loss: LossConfig) -> OwnStudies:
        """The prepared studies of a hospital, cut, for a run with this loss.

        Raises:
            DataError: They cannot be used as they are; `wardround site check` says more.
        """
        cut = _usable_cut(site, prepared.records, num_bad_rows=prepared.num_bad_rows)
        return cls(prepared=prepared, images=prepared.images, reports=prepared.reports, cut=cut, loss=loss)

    def private(self) -> StoredRecords:
        """The training studies, sorted by patient."""
        ordered = self._ordered()
        numbers = patient_numbers(self.prepared.records, ordered)
        halves = halves_of(self.prepared.records[i] for i in ordered)
        return StoredRecords(self.images.among(ordered), self.reports.among(ordered), numbers, halves=halves)

    def private_records(self) -> list[StudyRecord]:
        """The records of the same studies, in their order."""
        return [self.prepared.records[i] for i in self._ordered()]

    def held_out(self) -> HeldOut:
        """The held-out studies, in the data's order.

        Raises:
            DataError: The texts of their reports cannot be read.
        """
        rows = [i for i in self._rows(Role.TEST) if self.prepared.records[i].lacks is None]
        texts = self.prepared.texts(rows)
        records = (replace(self.prepared.records[i], report=text) for i, text in zip(rows, texts, strict=True))
        return HeldOut(self.images.among(rows), self.reports.among(rows), tuple(records))

    def encoded_by(self, frozen: FrozenPart, *, device: str, folder: Path) -> OwnStudies:
        """The same studies as a model's frozen part sees them.

        Args:
            frozen: The part, on the device.
            device: Where it computes.
            folder: Has room for what it makes, until this process ends.

        Raises:
            DataError: The studies cannot be read, or the disk is full.
        """
        images = self.images.through(frozen.image, device=device, folder=folder)
        reports = self.reports.through(frozen.report, device=device, folder=folder)
        return replace(self, images=images, reports=reports)

    def _ordered(self) -> list[int]:
        records, lone = self.prepared.records, trains_unpaired(self.loss)
        return by_patient(records, (i for i in self._rows(Role.TRAIN) if lone or records[i].lacks is None))

    def _rows(self, role: Role) -> Iterator[int]:
        roles = self.cut.roles
        return (i for i, record in enumerate(self.prepared.records) if roles.get(record.split_group) is role)


def check_listed(site: SiteConfig, listed: Iterable[StudyRecord | Unpaired | BadRow]) -> None:
    """Check what a hospital's folder lists, before an image of it is decoded.

    Raises:
        DataError: The studies cannot be used, whatever their images are; `wardround site check` says more.
    """
    records, num_bad_rows, tally = [], 0, UnpairedTally()
    for item in listed:
        if isinstance(item, Unpaired):
            tally.add(item)
        if (record := listed_record(item)) is not None:
            records.append(record)
        else:
            num_bad_rows += 1
    _usable_cut(site, records, num_bad_rows=num_bad_rows, unpaired=tally.count)


def _usable_cut(
    site: SiteConfig, records: Sequence[StudyRecord], *, num_bad_rows: int, unpaired: UnpairedCount | None = None
) -> SiteCut:
    cut = cut_site(site.data, records, num_bad_rows=num_bad_rows, unpaired=unpaired)
    problems = [*cut.problems, *delta_problems(site, band_of(cut.most_trained))]
    if problems:
        raise DataError(f"{site.data.root}: {problems[0]}; wardround site check shows all")
    return cut
