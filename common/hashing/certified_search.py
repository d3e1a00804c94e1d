"""What a certificate says of a search: which items stay among the first k, whatever befalls the query.

The query's code is c, its certificate says which bits are loose and that at most m of them flip. Item y is ahead of
item z after every such change where

    d(c, y) - d(c, z) + 2 min(m, number of loose bits that speak for y against z) < 0,

for a flip of a bit in which y and z agree moves both distances alike, one that spoke for z only helps y, and each
other one moves the difference by 2. Equal distances count against y: an order of ties may put any item first. The
gallery's codes stand as they are.

The guarantee is the certificate's, for the query's true majority code within its tolerance, and for every change at
once.

Shapes: Q queries, G gallery, F found, K bits, P bytes a code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.hashing.certificate import Certificate
from common.hashing.codes import Codes, unpack

_BLOCK = 1 << 16
"""Codes unpacked at a time."""


def certified_recall_at(
    k: int, certificates: Sequence[Certificate], gallery_GK: NDArray[np.bool_], relevant_QG: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether each query surely finds a relevant item among its first k, `[Q]`.

    Args:
        k: Depth, 1 or more.
        certificates: Of the queries, Q of them.
        gallery_GK: Codes of the gallery, as bits.
        relevant_QG: Which items answer which query.
    """
    return np.array(
        [
            _surely_found(k, certificate, gallery_GK, relevant_G)
            for certificate, relevant_G in zip(certificates, relevant_QG, strict=True)
        ],
        dtype=bool,
    )


def certified_first(k: int, certificate: Certificate, gallery_GK: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Items that surely stay among the first k, by position in the gallery, ascending."""
    everyone = np.ones(len(gallery_GK), dtype=bool)
    safe = [item for item in range(len(gallery_GK)) if _rivals(certificate, gallery_GK, item, everyone) < k]
    return np.array(safe, dtype=np.int64)


def surely_first(k: int, certificate: Certificate, items_FK: NDArray[np.bool_], gallery_GP: Codes) -> NDArray[np.bool_]:
    """Whether each of some items of a gallery surely stays among its first k, `[F]`; memory is that of one block.

    Args:
        k: Depth, 1 or more.
        certificate: Of the query.
        items_FK: Codes of the items, as bits; each stands in the gallery too.
        gallery_GP: Packed codes of all that may pass them. Those farther from the query than an item by more than twice
            `Certificate.most_flips` cannot, and may be left out.
    """
    rivals_F = np.full(len(items_FK), -1)  # each item comes out level with itself
    for start in range(0, len(gallery_GP), _BLOCK):
        away_GK = unpack(gallery_GP[start : start + _BLOCK]).astype(bool) != certificate.code
        for number, item_K in enumerate(items_FK):
            rivals_F[number] += int(_may_pass(certificate, away_GK, item_K != certificate.code).sum())
    surely_F: NDArray[np.bool_] = rivals_F < k
    return surely_F


def _surely_found(
    k: int, certificate: Certificate, gallery_GK: NDArray[np.bool_], relevant_G: NDArray[np.bool_]
) -> bool:
    # The nearest are the likeliest to be held; one that is held settles it.
    relevant = np.flatnonzero(relevant_G)
    nearest = relevant[np.argsort((gallery_GK[relevant] != certificate.code).sum(axis=1), kind="stable")]
    return any(_rivals(certificate, gallery_GK, int(item), ~relevant_G) < k for item in nearest)


def _rivals(certificate: Certificate, gallery_GK: NDArray[np.bool_], item: int, among_G: NDArray[np.bool_]) -> int:
    """How many others may come to stand ahead of an item, or level with it."""
    away_GK = gallery_GK != certificate.code
    may_pass_G = _may_pass(certificate, away_GK, away_GK[item])
    may_pass_G[item] = False
    return int((may_pass_G & among_G).sum())


def _may_pass(certificate: Certificate, away_GK: NDArray[np.bool_], item_K: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which items may come to stand ahead of one, or level with it; of each, the bits in which the query differs."""
    ahead_G = item_K.sum() - away_GK.sum(axis=1)
    speaking_G = (~item_K & away_GK & certificate.loose).sum(axis=1)
    may_pass_G: NDArray[np.bool_] = ahead_G + 2 * np.minimum(certificate.most_flips, speaking_G) >= 0
    return may_pass_G
