"""What a private step reads and gives: one site's studies sorted by patient, and gradients by parameter name.

Shapes: N studies, R studies of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from client.dp.randomness import Randomness

Gradients = dict[str, Tensor]
"""A tensor in the shape of each trained parameter, by the parameter's name, in the model's order."""


@dataclass(frozen=True)
class Records:
    """Private studies of one site as the towers see them, sorted by patient.

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


def sample_patients(records: Records, probability: float, randomness: Randomness) -> Records:
    """The studies of a Poisson sample of the patients, renumbered without gaps."""
    chosen = randomness.participants(records.num_patients, probability).to(records.patients.device)
    kept = chosen[records.patients]
    numbers = torch.cumsum(chosen, dim=0) - 1
    return Records(records.images[kept], records.reports[kept], numbers[records.patients[kept]])


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
    rows = slice(start, stop)
    return Records(records.images[rows], records.reports[rows], records.patients[rows] - first_patient)
