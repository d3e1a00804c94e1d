"""Randomised response on codes (Warner 1965), measured and not used: each bit of a question's code flipped by chance.

Guarantee: with flips of probability 1 / (1 + exp(epsilon / K)) for each of K bits, any two codes of a question give any
flipped code with probabilities within a factor of exp(epsilon): epsilon-local differential privacy. Unit of privacy:
one question's code, not a patient. Neighbouring relation: any two codes. Questions add up: ten of one study spend ten
times epsilon. Edge case: at epsilon 0 every bit is a fair coin. What is measured here is drawn from a seed, and hides
nobody.

Shapes: Q questions, G gallery, K bits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from common.hashing.codes import Codes
from common.hashing.hamming import hamming_distances
from common.retrieval.metrics import retrieval_metrics


def flip_probability(epsilon: float, *, bits: int) -> float:
    """Of each bit, where all bits of a code together spend epsilon.

    Raises:
        ValueError: Epsilon is below 0, or there is no bit.
    """
    if epsilon < 0 or bits < 1:
        raise ValueError(f"epsilon={epsilon}, bits={bits}: epsilon is 0 or more, and bits 1 or more")
    share = math.exp(-epsilon / bits)  # of e: no overflow at a large epsilon
    return share / (1 + share)


def flipped(codes_QP: Codes, *, epsilon: float, generator: np.random.Generator) -> Codes:
    """The codes, each of whose bits was flipped by chance."""
    bits_QK = np.unpackbits(codes_QP, axis=1)
    flips_QK = generator.random(bits_QK.shape) < flip_probability(epsilon, bits=bits_QK.shape[1])
    return np.packbits(bits_QK ^ flips_QK, axis=1)


def recall_of_flipped(
    queries_QP: Codes,
    gallery_GP: Codes,
    relevant_QG: NDArray[np.bool_],
    *,
    epsilon: float | None,
    generator: np.random.Generator,
) -> float:
    """Recall at 10 of flipped questions in a gallery of plain codes; None flips nothing."""
    asked_QP = queries_QP if epsilon is None else flipped(queries_QP, epsilon=epsilon, generator=generator)
    return float(retrieval_metrics(-hamming_distances(asked_QP, gallery_GP), relevant_QG)["recall_at_10"].mean())
