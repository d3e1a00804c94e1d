"""What a private step reads and gives: one site's studies sorted by patient, and gradients by parameter name.

Shapes: N studies, R studies of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from client.dp.randomness import Randomness

Gradients = dict[str, Tensor]
"""A tensor in the shape of each trained parameter, by the parameter's name, in the model's order."""


class PrivateStudies(Protocol):
    """All private studies of one site, wherever they lie, sorted by patient; a step reads a few of them."""

    @property
    def patients(self) -> Tensor:
        """Patient number `[N]` of each study, int64, ascending from 0 without gaps."""
        ...

    @property
    def num_patients(self) -> int:
        """Number of patients. Private: it stays at the site."""
        ...

    def read(self, studies: Tensor, randomness: Randomness) -> Records:
        """Some of the studies, with the patients' numbers as they are here.

        Args:
            studies: Positions `[R]`, ascending.
            randomness: Says which of its images a study of several is read with.

        Raises:
            DataError: They cannot be read.
        """
        ...

    def to(self, device: str) -> PrivateStudies:
        """The same studies, read to a device."""
        ...


@dataclass(frozen=True)
class Records:
    """Private studies of one site as the towers see them, in memory, sorted by patient.

    Attributes:
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        patients: Patient number `[N]` of each study, int64, ascending from 0 without gaps.
    """

    images: Tensor
    reports: Tensor
    patients: Tensor

    @property
    def num_patients(self) -> int:
        """Number of patients. Private: it stays at the site."""
        return int(self.patients[-1]) + 1 if len(self.patients) else 0

    def studies_of_each(self) -> Tensor:
        """Number of studies of each patient, `[num_patients]`."""
        return torch.bincount(self.patients, minlength=self.num_patients)

    def to(self, device: str) -> Records:
        """The same studies on a device."""
        return Records(self.images.to(device), self.reports.to(device), self.patients.to(device))

    def rows(self, rows: Tensor | slice) -> Records:
        """Some of the studies, with the patients' numbers as they are here."""
        return Records(self.images[rows], self.reports[rows], self.patients[rows])

    def read(self, studies: Tensor, randomness: Randomness) -> Records:  # noqa: ARG002 - a study has one image here
        """See `PrivateStudies`."""
        return self.rows(studies)


def sample_patients(records: PrivateStudies, probability: float, randomness: Randomness) -> Records:
    """The studies of a Poisson sample of the patients, renumbered without gaps; no others are read."""
    chosen = randomness.participants(records.num_patients, probability).to(records.patients.device)
    sample = records.read(chosen[records.patients].nonzero().flatten(), randomness)
    numbers = (torch.cumsum(chosen, dim=0) - 1).to(sample.patients.device)
    return Records(sample.images, sample.reports, numbers[sample.patients])


def chunks_of_patients(records: Records, chunk_size: int) -> Iterator[Records]:
    """Consecutive whole patients, renumbered from 0 in each chunk.

    A chunk holds at most `chunk_size` studies, or one patient alone who has more.
    """
    start = first = size = 0
    for patient, count in enumerate(records.studies_of_each().tolist()):
        if size and size + count > chunk_size:
            yield _part(records, start, start + size, first)
            start, first, size = start + size, patient, 0
        size += count
    if size:
        yield _part(records, start, start + size, first)


def _part(records: Records, start: int, stop: int, first_patient: int) -> Records:
    part = records.rows(slice(start, stop))
    return Records(part.images, part.reports, part.patients - first_patient)
