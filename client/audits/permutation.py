"""How sure an audit is: what it saw against what is seen when whole patients exchange their groups.

Studies of a patient are alike, so exchanging the groups of single studies would find patterns where there are none.
Here patients exchange, with all of their studies, and only with patients of the same hospital that have as many: so
what hospitals differ in, and who is imaged often, is the same in every exchange. Under the hypothesis that a group
has nothing to do with what is measured, each exchange is as likely as what was seen, and the p-values are exact:
every statistic treats all exchanges alike, down to the lines that are fitted for it
(Phipson and Smyth, 2010, 10.2202/1544-6115.1585, count what was seen among the exchanges).

Shapes: N studies, M exchanges, T tests, S patients of a stratum, B studies of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NUM_EXCHANGES = 999
"""The least p-value is a thousandth: ten times below what the correction for ten attributes asks."""

Strata = Sequence[object]


class PatientExchange:
    """Exchanges of values between patients.

    Args:
        patients: The patient of each of N studies.
        strata: The hospital of each; patients exchange within one.
        rng: Decides the exchanges.
    """

    def __init__(self, patients: Sequence[object], strata: Strata, rng: np.random.Generator) -> None:
        studies: dict[object, list[int]] = defaultdict(list)
        for position, patient in enumerate(patients):
            studies[patient].append(position)
        alike: dict[object, list[list[int]]] = defaultdict(list)
        for positions in studies.values():
            alike[(len(positions), *sorted({str(strata[i]) for i in positions}))].append(positions)
        self._blocks = [np.array(blocks) for blocks in alike.values()]
        self._num_studies = len(patients)
        self._rng = rng

    def orders(self, num: int = NUM_EXCHANGES) -> NDArray[np.int64]:
        """Which study's value each study gets, `[M, N]`."""
        order_MN = np.tile(np.arange(self._num_studies), (num, 1))
        for block_SB in self._blocks:
            exchanged_MS = self._rng.permuted(np.tile(np.arange(len(block_SB)), (num, 1)), axis=1)
            order_MN[:, block_SB.ravel()] = block_SB[exchanged_MS].reshape(num, -1)
        return order_MN


def p_values(seen_T: NDArray[np.float64], exchanged_MT: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values of tests that share their exchanges, corrected for all of them together; large statistics speak.

    Each test is scaled by its own spread over the exchanges, and compared with the greatest of all (Westfall and
    Young, 1993). A test whose statistic never moves says nothing: its p-value is 1.
    """
    spread_T = exchanged_MT.std(axis=0)
    moves_T = spread_T > 1e-12
    scale_T = np.where(moves_T, spread_T, 1.0)
    centre_T = exchanged_MT.mean(axis=0)
    greatest_M = np.where(moves_T, (exchanged_MT - centre_T) / scale_T, -np.inf).max(axis=1, initial=-np.inf)
    standing_T = (seen_T - centre_T) / scale_T
    at_least_T = (greatest_M[:, None] >= standing_T[None, :] - 1e-9).sum(axis=0)
    return np.where(moves_T, (1 + at_least_T) / (1 + len(exchanged_MT)), 1.0)


def holm(p_value_T: Sequence[float]) -> list[float]:
    """P-values corrected for being several (Holm, 1979), in their order."""
    corrected, least = [0.0] * len(p_value_T), 0.0
    for rank, position in enumerate(sorted(range(len(p_value_T)), key=lambda i: p_value_T[i])):
        least = max(least, min(1.0, (len(p_value_T) - rank) * p_value_T[position]))
        corrected[position] = least
    return corrected
