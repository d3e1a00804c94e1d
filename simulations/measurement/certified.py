"""What smoothed codes find, and what of it is certified against every change of an image: `pooled.certificate`.

Shapes: Q queries, R reports, K bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.config.schema import RunConfig
from common.hashing.certificate import Certificate, certify, certify_bits
from common.hashing.certified_search import certified_recall_at
from common.hashing.codes import unpack
from common.hashing.sensitivity import local_sensitivity
from common.seeds import torch_generator
from simulations.measurement.drawn import Drawn

DEPTH = 10
ATTACK_STEPS = 20


def certified_metrics(drawn: Drawn, config: RunConfig) -> dict[str, Any]:
    """Image to report over one gallery, the drawn images as queries.

    Each query is certified by itself with probability 1 - `certificate.alpha`. The gallery's codes are the plain ones.
    """
    settings = config.certificate
    deviation = drawn.smoothing.deviation
    return {
        "deviation": deviation,
        "num_votes": settings.num_votes,
        "alpha": settings.alpha,
        "queries": len(drawn.images),
        "recall_at_10": drawn.recall_at_10(drawn.smoothed_codes),
        "radii": [_at_radius(drawn, radius * deviation, settings.alpha) for radius in settings.radii],
        "sensitivity": _sensitivity(drawn, settings.radii[0] * deviation, config),
    }


def _at_radius(drawn: Drawn, radius: float, alpha: float) -> dict[str, float]:
    joint = [certify(ballot, radius=radius, alpha=alpha) for ballot in drawn.ballots]
    alone = [certify_bits(ballot, radius=radius, alpha=alpha) for ballot in drawn.ballots]
    gallery_RK = unpack(drawn.gallery_RP) == 1
    return {
        "radius": radius,
        "recall_at_10": float(certified_recall_at(DEPTH, joint, gallery_RK, drawn.relevant_QR).mean()),
        "most_flips": _mean_flips(joint),
        "most_flips_bit_by_bit": _mean_flips(alone),
    }


def _mean_flips(certificates: Sequence[Certificate]) -> float:
    return float(np.mean([certificate.most_flips for certificate in certificates]))


def _sensitivity(drawn: Drawn, radius: float, config: RunConfig) -> dict[str, float]:
    """Flips of the plain code for each unit of change that an attack found."""
    found_Q = local_sensitivity(
        drawn.outputs,
        drawn.images,
        radius=radius,
        steps=ATTACK_STEPS,
        generator=torch_generator(config.seed, "certificate", "attack"),
    )
    return {"radius": radius, "mean": float(found_Q.mean()), "largest": float(found_Q.max())}
