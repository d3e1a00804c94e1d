"""Sampling a fixed law on a range of integers from integer tables: one gather, one comparison a value.

Walker's alias method. The law is cut into `NUM_COLUMNS` columns of equal weight, each holding at most two values. A
value takes one column, uniformly, and a fraction that is compared with the column's threshold. All of it is integer
arithmetic: the law sampled is exactly the one that the integer weights state, and no rounding mode, compiler or
processor changes it.

A fraction has 80 bits, but almost always the first 16 decide. The other 64 are drawn only for values whose first 16
equal the threshold's, one in 65,536.

Sources: Walker (1977), doi:10.1145/355744.355749; Vose (1991), doi:10.1109/32.92917, for the construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.privacy.keystream import Keystream

NUM_COLUMNS = 1 << 16
FRACTION_BITS = 16 + 64
TOTAL_WEIGHT = NUM_COLUMNS << FRACTION_BITS
"""What the integer weights of a law sum to: a weight is a probability in units of 2^-96."""


@dataclass(frozen=True, kw_only=True)
class AliasTable:
    """A law on the integers from -NUM_COLUMNS / 2 on, one column each, whose own value it is.

    Attributes:
        alias: The other value of each column.
        threshold: First 16 bits of the weight that the column's own value has in it.
        threshold_rest: The other 64 bits.
    """

    alias: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.uint16]
    threshold_rest: npt.NDArray[np.uint64]

    def draw(self, count: int, stream: Keystream) -> npt.NDArray[np.int32]:
        """Independent values of the law, `[count]`. Fastest for a few ten thousand at once, which stay in the cache."""
        column = stream.uint16(count).astype(np.intp)
        fraction = stream.uint16(count)
        threshold = self.threshold.take(column, mode="clip")
        own = fraction < threshold
        undecided = np.flatnonzero(fraction == threshold)
        own[undecided] = stream.uint64(len(undecided)) < self.threshold_rest[column[undecided]]
        values = np.where(own, column - NUM_COLUMNS // 2, self.alias.take(column, mode="clip"))
        return values.astype(np.int32, copy=False)


def build_alias_table(weights: Sequence[int]) -> AliasTable:
    """The table of a law.

    Args:
        weights: Weight of each value from -NUM_COLUMNS / 2 on: `NUM_COLUMNS` integers that sum to `TOTAL_WEIGHT`.

    Raises:
        ValueError: Another number of weights, another sum, or a negative weight.
    """
    if len(weights) != NUM_COLUMNS or sum(weights) != TOTAL_WEIGHT or min(weights) < 0:
        raise ValueError(f"a table takes {NUM_COLUMNS} weights of 0 or more that sum to {TOTAL_WEIGHT}")
    capacity = 1 << FRACTION_BITS
    left = list(weights)
    alias = list(range(NUM_COLUMNS))
    light = [column for column, weight in enumerate(left) if weight < capacity]
    heavy = [column for column, weight in enumerate(left) if weight >= capacity]
    while light:
        # While a column lacks weight another has too much of it, for the weights average to the capacity exactly.
        column, giver = light.pop(), heavy[-1]
        alias[column] = giver
        left[giver] -= capacity - left[column]
        if left[giver] < capacity:
            light.append(heavy.pop())
    # A full column needs no threshold: it is its own alias.
    thresholds = [min(weight, capacity - 1) for weight in left]
    return AliasTable(
        alias=np.array(alias, dtype=np.int32) - NUM_COLUMNS // 2,
        threshold=np.array([weight >> 64 for weight in thresholds], dtype=np.uint16),
        threshold_rest=np.array([weight % (1 << 64) for weight in thresholds], dtype=np.uint64),
    )
