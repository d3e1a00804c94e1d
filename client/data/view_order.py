"""Which view of a chest comes first: the one that most reports describe, and that most studies have."""

from __future__ import annotations

LATERAL = frozenset({"LATERAL", "LAT", "L", "LL", "RL", "XTABLE LATERAL", "SWIMMERS"})
"""Positions of side views, as the public data sets write DICOM's View Position (0018,5101)."""


def rank_of(position: str) -> int:
    """Place of a view: postero-anterior, antero-posterior, not known, lateral, and last what a data set rules out.

    Args:
        position: As recorded; "" where nothing is.
    """
    word = position.strip().upper()
    if word in {"PA", "AP", "AP_HORIZONTAL"}:
        return 0 if word == "PA" else 1
    if word == "EXCLUDE":  # PadChest: not a chest, or not readable
        return 4
    return 3 if word in LATERAL else 2
