"""Features of many items, of which a few are wanted at a time: in memory, or on a disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor


class Rows(Protocol):
    """Features `[N, ...]` of N items: a tensor is one, and so is a file whose rows are read when they are asked for."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, items: Tensor | slice, /) -> Tensor:
        """Features `[R, ...]` of some items, by their positions, on the device that the rows are for.

        Raises:
            DataError: They cannot be read.
        """
        ...

    def to(self, device: str, /) -> Rows:
        """The same, for a device."""
        ...


def batches(rows: Rows, size: int) -> Iterator[Tensor]:
    """All rows in order, `size` at a time; of no rows one batch of none."""
    for start in range(0, max(1, len(rows)), size):
        yield rows[start : start + size]
