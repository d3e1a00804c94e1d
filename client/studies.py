"""Encoded studies as training, measuring and the anchors take them: sorted by patient where patients count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from client.dp.records import PrivateStudies, Records
from client.site import HeldOut
from common.config.schema import RunConfig
from common.encoders.public_fit import AnchorFeatures
from common.fairness.emphasis import SAMPLING, cut_of, emphasis_of
from common.retrieval.relevance_pairs import Labels
from common.types import Lacks, StudyRecord


class EncodedStudies(Protocol):
    """Studies with the features of each.

    Attributes:
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        records: Their records, N of them.
    """

    @property
    def images(self) -> Tensor:
        """Image features `[N, ...]`."""
        ...

    @property
    def reports(self) -> Tensor:
        """Report features `[N, ...]`."""
        ...

    @property
    def records(self) -> tuple[StudyRecord, ...]:
        """Their records, N of them."""
        ...


def anchors_among(studies: EncodedStudies, rows: Iterable[int]) -> AnchorFeatures:
    """Some of the studies as public anchors."""
    ordered = by_patient(studies.records, rows)
    records = [studies.records[i] for i in ordered]
    return AnchorFeatures(
        studies.images[ordered],
        studies.reports[ordered],
        patient_numbers(studies.records, ordered),
        Labels.of([record.findings for record in records], [record.report for record in records]),
    )


def private_among(studies: EncodedStudies, rows: Iterable[int]) -> Records:
    """Some of the studies as private training studies."""
    ordered = by_patient(studies.records, rows)
    return Records(
        studies.images[ordered],
        studies.reports[ordered],
        patient_numbers(studies.records, ordered),
        halves=halves_of(studies.records[i] for i in ordered),
    )


def halves_of(records: Iterable[StudyRecord]) -> Tensor | None:
    """Whether each study has its image, and its report, `[N, 2]`, bool; None where all have both."""
    lacks = [record.lacks for record in records]
    if not any(lacks):
        return None
    return torch.tensor([[which is not Lacks.IMAGE, which is not Lacks.REPORT] for which in lacks])


def by_group(studies: PrivateStudies, records: Sequence[StudyRecord], config: RunConfig) -> PrivateStudies:
    """Training studies, told apart by group as far as the run's config asks for it; as they are where it does not.

    A patient whose studies are of several groups counts as the one of them that counts most.

    Args:
        studies: The studies.
        records: Their records, in the same order.
        config: The run's configuration.

    Raises:
        ConfigError: The emphasis names what is not there.
    """
    groups, emphasis = _groups(records, config), emphasis_of(config)
    if emphasis is None:
        return studies if groups is None else studies.by_group(groups=groups)
    own_N = torch.tensor([emphasis.of(record) for record in records], dtype=torch.float64)
    most_P = torch.zeros(studies.num_patients, dtype=torch.float64)
    factor_N = most_P.scatter_reduce(0, studies.patients, own_N, "amax")[studies.patients]
    by_rate = config.mitigation.emphasis_by == SAMPLING
    kept, weights = (factor_N, None) if by_rate else (None, factor_N)
    return studies.by_group(kept=kept, weights=weights, groups=groups)


def _groups(records: Sequence[StudyRecord], config: RunConfig) -> Tensor | None:
    """Group of each study, for an adversary; None where there is none."""
    if not config.mitigation.adversary_weight:
        return None
    cut = cut_of(config)
    return torch.tensor([cut.group_of(record) for record in records], dtype=torch.int64)


def held_out_among(studies: EncodedStudies, rows: Iterable[int]) -> HeldOut:
    """Some of the studies as held-out ones, in the data's order."""
    kept = list(rows)
    return HeldOut(studies.images[kept], studies.reports[kept], tuple(studies.records[i] for i in kept))


def by_patient(records: Sequence[StudyRecord], rows: Iterable[int]) -> list[int]:
    """Some positions, sorted by patient."""
    return sorted(rows, key=lambda i: records[i].patient_id)


def patient_numbers(records: Sequence[StudyRecord], rows: Sequence[int]) -> Tensor:
    """Patient number of each of some studies that are sorted by patient, int64, from 0 without gaps."""
    patients = [records[i].patient_id for i in rows]
    numbers = {patient: n for n, patient in enumerate(dict.fromkeys(patients))}
    return torch.tensor([numbers[patient] for patient in patients], dtype=torch.int64)
