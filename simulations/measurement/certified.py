"""What smoothed codes find, and what of it is certified against every change of an image: `pooled.certificate`.

The noise, and a radius, are in units of the spread of what the trained image tower sees: pixels where all of it
trains, the features of its frozen part where heads train. A certificate of features says nothing of the pixels before
them.

Shapes: Q queries, K bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from client.site import HeldOut
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.hashing.certificate import Ballot, Certificate, cast_ballot, certify, certify_bits
from common.hashing.certified_search import certified_recall_at
from common.hashing.codes import binarise, unpack
from common.hashing.head import head_outputs
from common.hashing.sensitivity import SoftOf, local_sensitivity
from common.hashing.smoothing import Smoothing
from common.retrieval.evaluation import distinct_reports
from common.retrieval.index import CodeIndex
from common.retrieval.metrics import retrieval_metrics
from common.seeds import numpy_generator, torch_generator

DEPTH = 10
ATTACK_STEPS = 20


def certified_metrics(model: DualEncoder, held_out: HeldOut, config: RunConfig) -> dict[str, Any] | None:
    """Image to report over one gallery, a few images drawn from the seed as queries; None where no noise is configured.

    Each query is certified by itself with probability 1 - `certificate.alpha`. The gallery's codes are the plain ones.
    """
    settings = config.certificate
    if settings.deviation is None:
        return None
    chosen, relevant_NR = distinct_reports(held_out.records)
    drawn = numpy_generator(config.seed, "certificate", "queries").permutation(len(held_out.records))
    queries = np.sort(drawn[: settings.num_queries])
    images = held_out.images[torch.from_numpy(queries)].to(torch.float32)
    spread = float(images.std())
    smoothing = Smoothing(deviation=settings.deviation * spread, num_votes=settings.num_votes)
    generator = torch_generator(config.seed, "certificate", "noise")

    outputs = partial(_outputs, model)
    ballots = [cast_ballot(outputs, one, smoothing, generator=generator) for one in images]
    _, report = embed_in_batches(model, held_out.images, held_out.reports)
    gallery = binarise(report.code)[chosen]
    relevant_QR = relevant_NR[queries]
    return {
        "deviation": smoothing.deviation,
        "num_votes": settings.num_votes,
        "alpha": settings.alpha,
        "queries": len(queries),
        "recall_at_10": _recall(ballots, gallery, relevant_QR),
        "radii": [
            _at_radius(ballots, radius * smoothing.deviation, settings.alpha, unpack(gallery) == 1, relevant_QR)
            for radius in settings.radii
        ],
        "sensitivity": _sensitivity(outputs, images, settings.radii[0] * smoothing.deviation, config),
    }


def _outputs(model: DualEncoder, images: Tensor) -> Tensor:
    """The hash head's outputs `[B, K]`; unlike the model's relaxed codes they have a gradient in the images."""
    output_BK: Tensor = head_outputs(model.hash_head, model.embed_images(images).embedding)
    return output_BK


def _recall(ballots: Sequence[Ballot], gallery_RP: np.ndarray, relevant_QR: np.ndarray) -> float:
    codes_QP = np.packbits(np.stack([ballot.code for ballot in ballots]), axis=1)
    scores_QR = CodeIndex(gallery_RP, len(ballots[0].code)).scores(codes_QP)
    return float(retrieval_metrics(scores_QR, relevant_QR)["recall_at_10"].mean())


def _at_radius(
    ballots: Sequence[Ballot], radius: float, alpha: float, gallery_RK: np.ndarray, relevant_QR: np.ndarray
) -> dict[str, float]:
    joint = [certify(ballot, radius=radius, alpha=alpha) for ballot in ballots]
    alone = [certify_bits(ballot, radius=radius, alpha=alpha) for ballot in ballots]
    return {
        "radius": radius,
        "recall_at_10": float(certified_recall_at(DEPTH, joint, gallery_RK, relevant_QR).mean()),
        "most_flips": _mean_flips(joint),
        "most_flips_bit_by_bit": _mean_flips(alone),
    }


def _mean_flips(certificates: Sequence[Certificate]) -> float:
    return float(np.mean([certificate.most_flips for certificate in certificates]))


def _sensitivity(outputs: SoftOf, images: Tensor, radius: float, config: RunConfig) -> dict[str, float]:
    """Flips of the plain code for each unit of change that an attack found."""
    found_Q = local_sensitivity(
        outputs,
        images,
        radius=radius,
        steps=ATTACK_STEPS,
        generator=torch_generator(config.seed, "certificate", "attack"),
    )
    return {"radius": radius, "mean": float(found_Q.mean()), "largest": float(found_Q.max())}
