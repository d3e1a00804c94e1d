"""What codes find at each width: their first 48 bits, their first 64, and so on: `pooled.widths`.

A width is the first bits of the run's code, as a search of that width would use it. Each is measured clean over all
held-out images, and, where `certificate.deviation` names a noise, over the drawn images as well:

- attacked: the plain code after an attack on that width has moved the image by at most the
  largest of `certificate.radii`;
- smoothed and certified: the code by votes, and what of it no change of that radius can undo. All widths share the
  votes, and each has its own certificate.

Attack and certificate speak of the same radius, of two codes: the plain one and the smoothed one.

Shapes: Q queries, R reports, K bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.site import HeldOut
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, Embedded, embed_in_batches
from common.hashing.certificate import certify
from common.hashing.certified_search import certified_first, certified_recall_at
from common.hashing.codes import binarise, unpack
from common.hashing.hamming import hamming_distances
from common.hashing.sensitivity import attacked
from common.retrieval.evaluation import distinct_reports
from common.retrieval.hamming_radius import by_radius
from common.retrieval.metrics import retrieval_metrics
from common.seeds import torch_generator
from simulations.measurement.certified import ATTACK_STEPS, DEPTH
from simulations.measurement.drawn import Drawn

Measured = Callable[[int, int], None]
"""Told that so many of so many widths are measured."""

RECALL_OF_LOOK_UP = 0.5


def width_curve(
    model: DualEncoder, held_out: HeldOut, drawn: Drawn | None, config: RunConfig, *, measured: Measured
) -> list[dict[str, Any]]:
    """Image to report over one gallery, at each of `evaluation.code_widths`.

    Args:
        model: Whose codes are cut.
        held_out: All sites' held-out studies.
        drawn: The images that are attacked and certified; None measures the clean figures alone.
        config: The run's.
        measured: Told after each width.
    """
    if not config.evaluation.code_widths:
        return []
    chosen, relevant_NR = distinct_reports(held_out.records)
    image, report = embed_in_batches(model, held_out.images, held_out.reports)
    found = []
    for bits in config.evaluation.code_widths:
        clean = _clean(image.prefix(bits), report.prefix(bits), chosen, relevant_NR)
        under_attack = None if drawn is None else _of_drawn(drawn.prefix(bits), config)
        found.append({"bits": bits, **clean, "drawn": under_attack})
        measured(len(found), len(config.evaluation.code_widths))
    return found


def _clean(
    image: Embedded, report: Embedded, chosen: NDArray[np.int64], relevant_NR: NDArray[np.bool_]
) -> dict[str, Any]:
    distances_NR = hamming_distances(binarise(image.code), binarise(report.code)[chosen])
    metrics = retrieval_metrics(-distances_NR, relevant_NR)
    return {
        "recall_at_10": float(metrics["recall_at_10"].mean()),
        "map": float(metrics["map"].mean()),
        "look_up": _look_up(distances_NR, relevant_NR, bit_width=image.code.shape[1]),
    }


def _look_up(distances_NR: NDArray[np.int32], relevant_NR: NDArray[np.bool_], *, bit_width: int) -> dict[str, float]:
    """The smallest radius within which half of the right reports lie, and what share of what lies there is right."""
    found = by_radius(distances_NR, relevant_NR, bit_width=bit_width)
    radius = int(np.argmax(found.recall >= RECALL_OF_LOOK_UP))
    return {
        "radius": radius,
        "recall": float(found.recall[radius]),
        "precision": float(found.precision[radius]),
    }


def _of_drawn(drawn: Drawn, config: RunConfig) -> dict[str, float]:
    """What the drawn images find, as they are and whatever befalls them within the radius."""
    radius = max(config.certificate.radii) * drawn.smoothing.deviation
    changed = attacked(
        drawn.outputs,
        drawn.images,
        radius=radius,
        steps=ATTACK_STEPS,
        generator=torch_generator(config.seed, "width curve", "attack"),
    )
    certificates = [certify(ballot, radius=radius, alpha=config.certificate.alpha) for ballot in drawn.ballots]
    gallery_RK = unpack(drawn.gallery_RP) == 1
    kept = [len(certified_first(DEPTH, certificate, gallery_RK)) for certificate in certificates]
    return {
        "radius": radius,
        "recall_at_10": drawn.recall_at_10(drawn.codes_of(drawn.images)),
        "attacked_recall_at_10": drawn.recall_at_10(drawn.codes_of(changed)),
        "smoothed_recall_at_10": drawn.recall_at_10(drawn.smoothed_codes),
        "certified_recall_at_10": float(certified_recall_at(DEPTH, certificates, gallery_RK, drawn.relevant_QR).mean()),
        "certified_first_ten": float(np.mean(kept)) / DEPTH,
    }
