"""A hospital's own studies for a run: prepared, and cut as `wardround site check` cuts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from client.check.dry_run import delta_problems
from client.check.site_cut import SiteCut, cut_site
from client.data.splits import Role
from client.data.unpaired import UnpairedCount, UnpairedTally
from client.dp.records import Records
from client.policy.site_schema import SiteConfig
from client.site import HeldOut
from client.store.store import Prepared
from client.studies import held_out_among, private_among
from common.encoders.public_fit import FrozenPart
from common.errors import DataError
from common.privacy.bands import band_of
from common.types import BadRow, StudyRecord, Unpaired


@dataclass(frozen=True, kw_only=True)
class OwnStudies:
    """Every study of a hospital, encoded.

    Attributes:
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        records: Their records, N of them.
        cut: On which side each stands.
    """

    images: Tensor
    reports: Tensor
    records: tuple[StudyRecord, ...]
    cut: SiteCut

    @classmethod
    def of(cls, site: SiteConfig, prepared: Prepared) -> OwnStudies:
        """The prepared studies of a hospital, cut.

        Raises:
            DataError: They cannot be used as they are; `wardround site check` says more.
        """
        cut = _usable_cut(site, prepared.records, num_bad_rows=prepared.num_bad_rows)
        return cls(images=prepared.images, reports=prepared.reports, records=prepared.records, cut=cut)

    def private(self) -> Records:
        """The training studies, sorted by patient."""
        return private_among(self, self._rows(Role.TRAIN))

    def held_out(self) -> HeldOut:
        """The held-out studies, in the data's order."""
        return held_out_among(self, self._rows(Role.TEST))

    def encoded_by(self, frozen: FrozenPart, *, device: str) -> OwnStudies:
        """The same studies as a model's frozen part sees them."""
        images, reports = frozen.features_of(self.images.to(device), self.reports.to(device))
        return OwnStudies(images=images.cpu(), reports=reports.cpu(), records=self.records, cut=self.cut)

    def _rows(self, role: Role) -> Iterator[int]:
        roles = self.cut.roles
        return (i for i, record in enumerate(self.records) if roles.get(record.split_group) is role)


def check_listed(site: SiteConfig, listed: Iterable[StudyRecord | Unpaired | BadRow]) -> None:
    """Check what a hospital's folder lists, before an image of it is decoded.

    Raises:
        DataError: The studies cannot be used, whatever their images are; `wardround site check` says more.
    """
    records, num_bad_rows, tally = [], 0, UnpairedTally()
    for item in listed:
        if isinstance(item, StudyRecord):
            records.append(item)
        elif isinstance(item, Unpaired):
            tally.add(item)
        else:
            num_bad_rows += 1
    _usable_cut(site, records, num_bad_rows=num_bad_rows, unpaired=tally.count)


def _usable_cut(
    site: SiteConfig, records: Sequence[StudyRecord], *, num_bad_rows: int, unpaired: UnpairedCount | None = None
) -> SiteCut:
    cut = cut_site(site.data, records, num_bad_rows=num_bad_rows, unpaired=unpaired)
    problems = [*cut.problems, *delta_problems(site, band_of(len(cut.patients[Role.TRAIN])))]
    if problems:
        raise DataError(f"{site.data.root}: {problems[0]}; wardround site check shows all")
    return cut
