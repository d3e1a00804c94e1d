"""Prepared studies that stay on the disk: a step's are read when it samples them, the held-out ones batch by batch.

A study may have several images, which lie one after the other: the first is its main one. A step of training reads one
of them, drawn uniformly and independently for each study; everything else reads the main one.

Shapes: N studies, R studies of a sample.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.dp.coins import random_below
from client.dp.randomness import Randomness
from client.dp.records import Records
from client.store.arrays import ArrayWriter, StoredArray
from common.device import CPU
from common.errors import DataError

_AT_ONCE = 256
"""Rows that a frozen part is applied to."""


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Features of N studies in a file; see `common/encoders/rows.py`.

    Attributes:
        array: The file.
        first_N: Number of each study's first row.
        count_N: How many rows each has, one after the other.
        device: Where what is read goes.
    """

    array: StoredArray
    first_N: NDArray[np.int64]
    count_N: NDArray[np.int64]
    device: str = CPU

    def __len__(self) -> int:
        return len(self.first_N)

    def __getitem__(self, studies: Tensor | slice) -> Tensor:
        """Features `[R, ...]` of the main row of some studies.

        Raises:
            DataError: They cannot be read.
        """
        return self._read(self.first_N[_index(studies)])

    def drawn(self, studies: Tensor, randomness: Randomness) -> Tensor:
        """Features `[R, ...]` of one row of each study, uniformly at random.

        Nothing is drawn for studies of one row: where all are, the source of the sample is left as it was.

        Raises:
            DataError: They cannot be read.
        """
        rows_R, count_R = self.first_N[studies.numpy()], self.count_N[studies.numpy()]
        several = np.flatnonzero(count_R > 1)
        if len(several):
            rows_R[several] += random_below(torch.from_numpy(count_R[several]), randomness).numpy()
        return self._read(rows_R)

    def among(self, studies: Sequence[int]) -> StoredRows:
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

    def _read(self, rows_R: NDArray[np.int64]) -> Tensor:
        is_cuda = torch.device(self.device).type == "cuda"
        # From pinned memory the copy to a GPU goes on beside this thread; what uses it waits for it on the GPU.
        return self.array.read(rows_R, pinned=is_cuda).to(self.device, non_blocking=is_cuda)


@dataclass(frozen=True, eq=False)
class StoredRecords:
    """A site's training studies on the disk, sorted by patient; see `PrivateStudies`.

    Attributes:
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        patients: Patient number `[N]` of each study, int64, ascending from 0 without gaps; in memory.
    """

    images: StoredRows
    reports: StoredRows
    patients: Tensor

    @property
    def num_patients(self) -> int:
        """Number of patients. Private: it stays at the site."""
        return int(self.patients[-1]) + 1 if len(self.patients) else 0

    def read(self, studies: Tensor, randomness: Randomness) -> Records:
        """See `PrivateStudies`.

        Which image is read is the source's draw, as the sample is, and as secret: nobody sees it. It is one of the
        study's own, drawn apart from all other studies', so that the patient's clip holds for each outcome.

        Raises:
            DataError: They cannot be read.
        """
        images, reports = self.images.drawn(studies, randomness), self.reports[studies]
        return Records(images, reports, self.patients[studies].to(self.images.device))

    def to(self, device: str) -> StoredRecords:
        """The same studies, read to a device."""
        return replace(self, images=self.images.to(device), reports=self.reports.to(device))


def _index(studies: Tensor | slice) -> slice | NDArray[np.int64]:
    return studies if isinstance(studies, slice) else studies.cpu().numpy()
