"""Integers with the discrete Gaussian law of one fixed, large deviation, sampled from one small integer table.

The law. X takes the integer x with probability proportional to exp(-x^2 / (2 s^2)), s = `DEVIATION`, about 2^32.75.

The sampler. X = A + m B + m^2 C with m = `SPREAD` and A, B, C independent discrete Gaussians of deviation
s0 = `BASE_DEVIATION`, each from the same alias table. So s^2 = s0^2 (1 + m^2 + m^4).

How near. By Poisson summation, the sum over all integers y of exp(-(y - c)^2 / (2 t^2)) is t sqrt(2 pi) times a factor
within 1 - e(t) and 1 + e(t), e(t) = 2 sum_k exp(-2 pi^2 t^2 k^2), whatever the centre c. e(2) is 2^-112.9.

1. Convolution (Peikert, CRYPTO 2010, ePrint 2010/088, theorem 3.1; Micciancio and Walter, CRYPTO 2017, ePrint
   2017/259). Completing the square, P(A + m B = x) is proportional to exp(-x^2 / (2 s0^2 (1 + m^2))) times such a sum,
   with 1 / t^2 = (1 + m^2) / s0^2, so t = 2 for m = s0 / 2; likewise for C. Each probability of X is that of the law
   up to a *factor* within 1 - 2^-110.9 and 1 + 2^-110.9.
2. Table. A, B and C leave out what lies beyond 32,767 (10.7 deviations; 2^-85.8 of the mass) and round probabilities
   to 2^-96. Each is within a statistical distance of 2^-81 of its law, and X within 2^-79.4.

What it means for privacy. For an integer q, q + X has the law of a randomised rounding of the continuous Gaussian
N(q, s^2 - 2^2), namely of y to x with probability proportional to exp(-(x - y)^2 / (2 2^2)), up to a factor of e(2)
once more (Peikert, theorem 3.1; Canonne, Kamath and Steinke, NeurIPS 2020, arXiv 2004.00010, study the mechanism in its
own right). That rounding does not read the data. So the discrete mechanism is post-processing of the continuous one,
and factors within 1 +- eta survive the mixture over Poisson samples: an accountant of the Poisson-subsampled continuous
Gaussian states the privacy of this one, with a noise multiplier smaller by a relative 2 / s^2 = 2^-64.5, which is less
than floating point resolves, and for each value and step an epsilon larger by 2^-109.3 and a delta larger by
(1 + exp(epsilon)) 2^-79.4. At epsilon 8:

    24,000 parameters, 100 steps        delta + 9e-15
    6,000,000 parameters, 2,000 steps   delta + 5e-11

All of it holds for truly random bits; `Keystream` gives bits that no feasible computation tells from them.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import numpy.typing as npt

from client.dp.alias_table import NUM_COLUMNS, TOTAL_WEIGHT, AliasTable, build_alias_table
from common.privacy.keystream import Keystream

BASE_DEVIATION = 3072
SPREAD = BASE_DEVIATION // 2
DEVIATION = BASE_DEVIATION * math.sqrt(1 + SPREAD**2 + SPREAD**4)
"""Standard deviation s of `discrete_gaussian`."""

_FIXED_POINT_BITS = 256


def discrete_gaussian(count: int, stream: Keystream) -> npt.NDArray[np.int64]:
    """Independent integers of deviation `DEVIATION`, `[count]`; none is beyond 2^37."""
    table = _base_table()
    values = table.draw(count, stream).astype(np.int64)
    for _ in range(2):
        values *= SPREAD
        values += table.draw(count, stream)
    return values


def base_weights() -> list[int]:
    """Weights of the discrete Gaussian of deviation `BASE_DEVIATION` on the values of a table."""
    one = 1 << _FIXED_POINT_BITS
    with localcontext(prec=100):
        step = int(one * (Decimal(-1) / (2 * BASE_DEVIATION**2)).exp())
    # q^((x + 1)^2) = q^(x^2) q^(2 x + 1) with q = exp(-1 / (2 s0^2)); after all of them the error is below 2^-220.
    square = step * step >> _FIXED_POINT_BITS
    half = [one]
    for _ in range(NUM_COLUMNS // 2 - 1):
        half.append(half[-1] * step >> _FIXED_POINT_BITS)
        step = step * square >> _FIXED_POINT_BITS
    density = [0, *reversed(half[1:]), *half]
    total = sum(density)
    weights = [value * TOTAL_WEIGHT // total for value in density]
    # The value 0 takes what rounding down left over: at most 2^16 units of 2^-96.
    weights[NUM_COLUMNS // 2] += TOTAL_WEIGHT - sum(weights)
    return weights


@cache
def _base_table() -> AliasTable:
    return build_alias_table(base_weights())
