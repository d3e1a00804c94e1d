"""How far two traits of a study go together, exactly and over exchanges of patients.

Shapes: N studies, C values of a trait, K labels, M exchanges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def correlations(value_NC: Array, label_NK: Array, order_MN: NDArray[np.int64]) -> Array:
    """Correlation of each value with each label, `[M, C, K]`, when studies get the values of others.

    Of zeros and ones it is the phi coefficient. Where one of the two does not vary it is 0.

    Args:
        value_NC: Values of one trait or more.
        label_NK: Labels.
        order_MN: Whose values each study gets.
    """
    mean_C, mean_K = value_NC.mean(axis=0), label_NK.mean(axis=0)
    both_MCK = np.stack([column_N[order_MN] @ label_NK for column_N in value_NC.T], axis=1) / len(label_NK)
    spread_CK = np.outer(value_NC.std(axis=0), label_NK.std(axis=0))
    return np.asarray((both_MCK - np.outer(mean_C, mean_K)) / np.where(spread_CK > 1e-12, spread_CK, np.inf))


def cramers_v(phi_coefficient: float, num: int) -> float:
    """Cramer's V of two traits of `num` studies, corrected for chance (Bergsma, 2013, 10.1016/j.jkss.2012.10.002)."""
    if num < 3:  # two studies always go together
        return 0.0
    return float(np.sqrt(max(0.0, phi_coefficient**2 - 1 / (num - 1)) / (1 - 1 / (num - 1))))
