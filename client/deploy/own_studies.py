"""A hospital's own studies for a run: read, encoded and cut as `wardround site check` cuts them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from client.check.dry_run import delta_problems
from client.check.site_cut import SiteCut, cut_site
from client.data.features import CachedEncoder, in_batches
from client.data.identity import content_of
from client.data.registry import ADAPTERS
from client.data.splits import Role
from client.dp.records import Records
from client.policy.site_schema import SiteConfig
from client.site import HeldOut
from client.studies import held_out_among, private_among
from common.encoders.public_fit import FrozenPart
from common.errors import DataError
from common.privacy.bands import band_of
from common.types import BadRow, Study, StudyRecord


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


def read_own_studies(site: SiteConfig, encoder: CachedEncoder) -> OwnStudies:
    """Read and encode every study in a hospital's folder.

    Raises:
        ConfigError: The layout is unknown.
        DataError: The data cannot be used as they are; `wardround site check` says more.
    """
    data = site.data
    adapter = ADAPTERS.load(data.adapter)(data.root, allow_burned_in=data.allow_burned_in, site_column=data.site_column)
    images: list[Tensor] = []
    reports: list[Tensor] = []
    records: list[StudyRecord] = []
    num_bad_rows = 0
    for items in in_batches(adapter.studies()):
        studies = [item for item in items if isinstance(item, Study)]
        num_bad_rows += sum(isinstance(item, BadRow) for item in items)
        if studies:
            image_digests, report_digests = zip(*map(content_of, studies), strict=True)
            images.append(encoder.image_features([study.image for study in studies], image_digests))
            reports.append(encoder.report_features([study.record.report for study in studies], report_digests))
            records += [study.record for study in studies]
    cut = cut_site(data, records, num_bad_rows=num_bad_rows)
    problems = [*cut.problems, *delta_problems(site, band_of(len(cut.patients[Role.TRAIN])))]
    if problems:
        raise DataError(f"{data.root}: {problems[0]}; wardround site check shows all")
    return OwnStudies(images=torch.cat(images), reports=torch.cat(reports), records=tuple(records), cut=cut)
