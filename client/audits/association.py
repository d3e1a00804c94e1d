"""How far two traits of a study go together, exactly and over exchanges of patients.

Shapes: N studies, C classes, K labels, M exchanges; classes and labels are zeros and ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def phi(class_NC: Array, label_NK: Array, order_MN: NDArray[np.int64]) -> Array:
    """Phi coefficient of each class with each label, `[M, C, K]`, when studies get the classes of others.

    Args:
        class_NC: Classes; a study may be of several.
        label_NK: Labels.
        order_MN: Whose classes each study gets.
    """
    share_C, share_K = class_NC.mean(axis=0), label_NK.mean(axis=0)
    both_MCK = np.stack([column_N[order_MN] @ label_NK for column_N in class_NC.T], axis=1) / len(label_NK)
    spread_CK = np.sqrt(np.outer(share_C * (1.0 - share_C), share_K * (1.0 - share_K)))
    return np.asarray((both_MCK - np.outer(share_C, share_K)) / np.where(spread_CK > 0, spread_CK, np.inf))


def cramers_v(phi_coefficient: float, num: int) -> float:
    """Cramer's V of two traits of `num` studies, corrected for chance (Bergsma, 2013, 10.1016/j.jkss.2012.10.002)."""
    if num < 3:  # two studies always go together
        return 0.0
    return float(np.sqrt(max(0.0, phi_coefficient**2 - 1 / (num - 1)) / (1 - 1 / (num - 1))))
