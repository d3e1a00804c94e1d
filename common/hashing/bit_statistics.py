"""How well codes use their bits: a bit that is always 1, or that repeats another, takes room and tells nothing.

Shapes: N codes, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.hashing.codes import Codes, unpack


@dataclass(frozen=True, kw_only=True)
class BitStatistics:
    """Means over bits, each in [0, 1].

    Attributes:
        balance: Of each bit, how near its share of ones is to one half: 1 at one half, 0 where it never changes.
        correlation: Size of the correlation of two bits, over all pairs; a bit that never changes has 0 with any other.
        entropy: Information of each bit by itself, in bits.
    """

    balance: float
    correlation: float
    entropy: float


def bit_statistics(codes_NP: Codes) -> BitStatistics:
    """Balance, correlation and entropy of packed codes `[N, P]`.

    Raises:
        ValueError: There is no code.
    """
    if not len(codes_NP):
        raise ValueError("no code, no statistics")
    bits_NK = unpack(codes_NP).astype(np.float64)
    share_K = bits_NK.mean(axis=0)
    away_NK = bits_NK - share_K
    deviation_K = np.sqrt(share_K * (1 - share_K))
    unit_NK = np.divide(away_NK, deviation_K, out=np.zeros_like(away_NK), where=deviation_K > 0)
    correlation_KK = np.abs(unit_NK.T @ unit_NK) / len(bits_NK)
    pairs = len(share_K) * (len(share_K) - 1)
    return BitStatistics(
        balance=float(np.mean(1 - 2 * np.abs(share_K - 0.5))),
        correlation=min(float((correlation_KK.sum() - np.trace(correlation_KK)) / pairs), 1.0),
        entropy=float(np.mean(_entropy(share_K))),
    )


def _entropy(share_K: NDArray[np.float64]) -> NDArray[np.float64]:
    sure = np.isin(share_K, (0.0, 1.0))
    inside = np.where(sure, 0.5, share_K)
    entropy_K: NDArray[np.float64] = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    return np.where(sure, 0.0, entropy_K)
