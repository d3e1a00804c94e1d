"""What is encoded of one kind: in the pieces that are being prepared, and in the arrays of what was prepared before.

A piece is on the disk when it is encoded (`common/encoders/cache.py`). Once all is, `gathered` puts the rows in order,
for an array; the pieces are then forgotten, so that nothing lies twice on the disk for longer than that takes. What an
earlier array holds is found in it by content, after every byte of it was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from client.store.arrays import StoredArray
from common.encoders.cache import FeatureCache
from common.errors import DataError

Item = TypeVar("Item")

_AT_ONCE = 32
"""Rows that are gathered at a time."""


@dataclass
class Encoded:
    """The encoded contents of one kind.

    Attributes:
        key: Name of the encoding.
        pieces: Where the pieces lie.
        earlier: Array and row of each content that was prepared before.
    """

    key: str
    pieces: FeatureCache
    earlier: dict[str, tuple[StoredArray, int]] = field(default_factory=dict)

    def add_earlier(self, array: StoredArray, digests: Sequence[str]) -> None:
        """Find contents in an array, whose every byte was checked."""
        self.earlier.update({digest: (array, row) for row, digest in enumerate(digests)})

    def ensure(self, items: Sequence[Item], digests: Sequence[str], compute: Callable[[Sequence[Item]], Tensor]) -> int:
        """Encode what is not, as one piece; how many that were.

        Raises:
            ConfigError: The disk is full.
        """
        return self.pieces.ensure(items, digests, key=self.key, compute=compute, elsewhere=self.earlier)

    def gathered(self, digests: Sequence[str]) -> Iterator[Tensor]:
        """The features of these contents in their order, a few rows at a time.

        Raises:
            DataError: A piece was damaged and is dropped, or an earlier array cannot be read any more.
        """
        reader = self.pieces.reader(self.key)
        for start in range(0, len(digests), _AT_ONCE):
            rows = []
            for digest in digests[start : start + _AT_ONCE]:
                row = reader.row(digest)
                if row is None and digest in self.earlier:
                    array, at = self.earlier[digest]
                    (row,) = array.read(np.array([at]))
                if row is None:
                    raise DataError("features: what was encoded was damaged on the disk; prepare again")
                rows.append(row)
            yield torch.stack(rows)

    def forget_pieces(self) -> None:
        """Delete the pieces: all that they hold is in an array.

        Raises:
            ConfigError: The folder cannot be written.
        """
        self.pieces.forget(self.key)
