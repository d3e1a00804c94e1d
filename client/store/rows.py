"""Prepared studies where they lie: a step's are read when it samples them, the held-out ones batch by batch.

A study may have several images, which lie one after the other: the first is its main one. A step of training reads one
of them, drawn uniformly and independently for each study; everything else reads the main one.

Shapes: N studies, R studies of a sample.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.dp.coins import random_below
from client.dp.randomness import Randomness
from client.dp.records import PrivateStudies, Records, some
from client.store.arrays import ArrayWriter, StoredArray
from common.device import CPU
from common.errors import DataError

_AT_ONCE = 256
"""Rows that a frozen part is applied to."""


class RowArray(Protocol):
    """Rows that can be read by their numbers."""

    def read(self, rows: NDArray[np.int64], *, pinned: bool = False) -> Tensor:
        """Some rows `[R, ...]`, on the CPU.

        Args:
            rows: Their numbers.
            pinned: Whether into memory that a GPU reads by itself.

        Raises:
            DataError: They cannot be read.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArrayInMemory:
    """Rows of a tensor on the CPU: a simulation holds all hospitals' studies.

    Attributes:
        rows: `[M, ...]`.
    """

    rows: Tensor

    def read(self, rows: NDArray[np.int64], *, pinned: bool = False) -> Tensor:
        """See `RowArray`."""
        found = self.rows[torch.from_numpy(rows)]
        return found.pin_memory() if pinned else found


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Features of N studies, in a file or in memory; see `common/encoders/rows.py`.

    Attributes:
        array: The rows.
        first_N: Number of each study's first row.
        count_N: How many rows each has, one after the other.
        device: Where what is read goes.
    """

    array: RowArray
    first_N: NDArray[np.int64]
    count_N: NDArray[np.int64]
    device: str = CPU

    @classmethod
    def in_memory(cls, rows_of_each: Sequence[Tensor]) -> StoredRows:
        """Features in memory, from the rows `[R, ...]` of each study, its main one first."""
        count_N = np.array([len(rows) for rows in rows_of_each], dtype=np.int64)
        return cls(ArrayInMemory(torch.cat(list(rows_of_each))), np.cumsum(count_N) - count_N, count_N)

    def __len__(self) -> int:
        return len(self.first_N)

    def __getitem__(self, studies: Tensor | slice) -> Tensor:
        """Features `[R, ...]` of the main row of some studies.

        Raises:
            DataError: They cannot be read.
        """
        rows_R = self.first_N[studies if isinstance(studies, slice) else studies.cpu().numpy()]
        is_cuda = torch.device(self.device).type == "cuda"
        # From pinned memory the copy to a GPU goes on beside this thread; what uses it waits for it on the GPU.
        return self.array.read(rows_R, pinned=is_cuda).to(self.device, non_blocking=is_cuda)

    def one_each(self, randomness: Randomness) -> StoredRows:
        """One row of each study, uniformly at random; none is read.

        Nothing is drawn for studies of one row: where all are, the source of the sample is left as it was.
        """
        first_N, several = self.first_N.copy(), np.flatnonzero(self.count_N > 1)
        if len(several):
            first_N[several] += random_below(torch.from_numpy(self.count_N[several]), randomness).numpy()
        return replace(self, first_N=first_N, count_N=np.ones_like(first_N))

    def among(self, studies: Sequence[int] | Tensor) -> StoredRows:
        """The features of some studies; none is read."""
        kept = np.asarray(studies, dtype=np.int64)
        return replace(self, first_N=self.first_N[kept], count_N=self.count_N[kept])

    def to(self, device: str) -> StoredRows:
        """The same, read to a device."""
        return replace(self, device=device)

    def through(self, frozen: nn.Module, *, device: str, folder: Path) -> StoredRows:
        """What a frozen part makes of all rows, in a file that has no name and is gone with the process.

        Args:
            frozen: Rows to rows, on the device.
            device: Where it computes.
            folder: Where there is room; as private as the studies.

        Raises:
            DataError: A row cannot be read, or the disk is full.
        """
        if isinstance(frozen, nn.Identity):
            return self
        start, stop = int(self.first_N.min()), int((self.first_N + self.count_N).max())
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                writer = ArrayWriter(file, num_rows=stop - start)
                for made in self._made(frozen, device, start, stop):
                    writer.add(made)
                writer.finish()
                array = StoredArray.of(file, f"{folder}: what the run's first model makes of the studies")
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror}); make room") from error
        return replace(self, array=array, first_N=self.first_N - start)

    def _made(self, frozen: nn.Module, device: str, start: int, stop: int) -> Iterator[Tensor]:
        with torch.no_grad():
            for at in range(start, stop, _AT_ONCE):
                yield frozen(self.array.read(np.arange(at, min(at + _AT_ONCE, stop))).to(device)).cpu()


@dataclass(frozen=True, eq=False)
class StoredRecords(PrivateStudies):
    """A site's training studies, or a sample of them, none in memory that is not asked for.

    Which image of a study a step reads is a draw of the source that draws the sample, and as secret: nobody sees it. It
    is one of the study's own, drawn apart from all other studies', so that the patient's clip holds for each outcome.

    Attributes:
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        patients: Patient number `[N]` of each study, int64, ascending from 0 without gaps; in memory, on the CPU.
        weights: See `Sample`; likewise.
        groups: See `Sample`; likewise.
        kept: See `PrivateStudies`; likewise.
        halves: See `Records`; likewise.
    """

    images: StoredRows
    reports: StoredRows
    patients: Tensor
    weights: Tensor | None = None
    groups: Tensor | None = None
    kept: Tensor | None = None
    halves: Tensor | None = None

    def rows(self, rows: Tensor | slice) -> Records:
        """See `Sample`.

        Raises:
            DataError: They cannot be read.
        """
        told = Records(
            self.images[rows],
            self.reports[rows],
            self.patients[rows],
            some(self.weights, rows),
            some(self.groups, rows),
            halves=some(self.halves, rows),
        )
        return told.to(self.images.device)

    def among(self, studies: Tensor, patients: Tensor) -> StoredRecords:
        """See `PrivateStudies`."""
        images, reports = self.images.among(studies), self.reports.among(studies)
        told = {name: some(getattr(self, name), studies) for name in ("weights", "groups", "halves")}
        return StoredRecords(images, reports, patients, **told)

    def by_group(
        self, *, kept: Tensor | None = None, weights: Tensor | None = None, groups: Tensor | None = None
    ) -> StoredRecords:
        """See `PrivateStudies`."""
        return replace(self, kept=kept, weights=weights, groups=groups)

    def one_image_each(self, randomness: Randomness) -> StoredRecords:
        """See `PrivateStudies`."""
        return replace(self, images=self.images.one_each(randomness))

    def to(self, device: str) -> StoredRecords:
        """See `PrivateStudies`."""
        return replace(self, images=self.images.to(device), reports=self.reports.to(device))
