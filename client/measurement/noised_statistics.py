"""What a site may tell of its held-out patients in earnest: how often the right report is found, as noised counts.

Each held-out patient's images are looked up among the *public anchors'* reports and their own report, so that no
patient's figure reads another patient: in a gallery of the site's own reports, removing one patient would move the rank
of every other. Three integers leave in a release: found by embedding, found by code, and asked.

Guarantee: all releases of a run together are (`evaluation.epsilon`, 0)-differentially private for each held-out
    patient, but for the delta that `common/privacy/mechanisms.py` states (discrete Laplace, pure epsilon composed).
Unit of privacy: the patient. A patient's share of found studies counts, in `UNITS` parts, whatever their number.
Neighbouring relation: add or remove one patient.
Sensitivity: `UNITS` for each of the three integers.
Edge cases: where the noised number of patients is below `evaluation.least_group` nothing is told; that is decided on
    the noised number, so it costs nothing. Rates are cut to [0, 1]: post-processing.

Shapes: N held-out studies, K anchors, D embedding, P patients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor

from client.site import Site
from common.config.schema import RunConfig
from common.encoders.dual import Embedded, embed_in_batches
from common.privacy.mechanisms import DiscreteLaplaceMechanism
from common.wire.update import NamedArrays, load_into

MEASUREMENTS = 2
"""A run measures before the first round and after the last; the rounds between them tell nothing."""

FIGURES = 3
"""Integers in a measurement."""

UNITS = 8
"""Parts of a patient that a count is told in: a patient of three studies, one of them found, counts 2 of 8."""

FIRST_RANKS = 10
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Counts:
    """Sums over the held-out patients, in `UNITS` a patient.

    Attributes:
        found: By embedding, among the first ten.
        found_by_code: By code.
        asked: Of all patients.
    """

    found: int
    found_by_code: int
    asked: int


def noise_of(config: RunConfig) -> DiscreteLaplaceMechanism | None:
    """The noise that `evaluation.epsilon` needs; None where a run tells exact figures."""
    if config.evaluation.epsilon is None:
        return None
    return DiscreteLaplaceMechanism(noise_scale=MEASUREMENTS * FIGURES / config.evaluation.epsilon, sensitivity=UNITS)


def noised_statistics(site: Site, arrays: NamedArrays, mechanism: DiscreteLaplaceMechanism) -> dict[str, Any] | None:
    """Recall at 10 among the public reports, from noised counts; None where they speak of too few patients.

    Args:
        site: The site; its model is overwritten.
        arrays: The model to measure.
        mechanism: Noise for a sensitivity of `UNITS`; its event was reserved before.

    Raises:
        AdmissionError: The arrays are not those of the site's model.
    """
    load_into(site.model, arrays)
    exact = counts_of(site)
    values = np.array([exact.found, exact.found_by_code, exact.asked], dtype=np.int64)
    found, found_by_code, asked = (int(value) for value in mechanism.noised(values))
    num_patients = asked / UNITS
    if num_patients < site.config.evaluation.least_group:
        return None
    rate, code_rate = (min(max(count / asked, 0.0), 1.0) for count in (found, found_by_code))
    deviation = math.sqrt(2) * mechanism.noise_scale
    gallery = len(site.anchors.images) + 1
    return {
        "brief": {"recall_at_10": rate, "codes_recall_at_10": code_rate},
        "metrics": {"recall_at_10": rate},
        "intervals": {"recall_at_10": _interval(rate, num_patients, deviation)},
        "codes": {"recall_at_10": code_rate},
        "code_intervals": {"recall_at_10": _interval(code_rate, num_patients, deviation)},
        "groups": [],
        "gallery": gallery,
        "chance_recall_at_10": min(FIRST_RANKS / gallery, 1.0),
    }


def counts_of(site: Site) -> Counts:
    """The exact counts under the site's model; they stay at the site."""
    held_out, anchors = site.held_out, site.anchors
    if not held_out.records:
        return Counts(found=0, found_by_code=0, asked=0)
    image, report = embed_in_batches(site.model, held_out.images, held_out.reports)
    _, public = embed_in_batches(site.model, anchors.images, anchors.reports)
    return count(image, report, public, patients=[record.patient_id for record in held_out.records])


def count(image: Embedded, report: Embedded, public: Embedded, *, patients: list[str]) -> Counts:
    """The exact counts of N studies, whose patients are named, among K public reports."""
    return Counts(
        found=_sum_over_patients(_is_found(image.embedding, report.embedding, public.embedding), patients),
        found_by_code=_sum_over_patients(_is_found(_signs(image), _signs(report), _signs(public)), patients),
        asked=UNITS * len(set(patients)),
    )


def _is_found(image_ND: Tensor, report_ND: Tensor, public_KD: Tensor) -> NDArray[np.bool_]:
    """Whether fewer than ten public reports are at least as near to an image as its own report; `[N]`."""
    own_N1 = (image_ND * report_ND).sum(dim=1, keepdim=True)
    before_N = (image_ND @ public_KD.T >= own_N1).sum(dim=1)
    found: NDArray[np.bool_] = (before_N < FIRST_RANKS).cpu().numpy()
    return found


def _signs(embedded: Embedded) -> Tensor:
    """Codes as +1 and -1: their product falls as the Hamming distance grows."""
    return torch.where(embedded.code > 0, 1.0, -1.0)


def _sum_over_patients(found_N: NDArray[np.bool_], patients: list[str]) -> int:
    """Sum of each patient's share of found studies, rounded down to `UNITS` parts."""
    names, of_study_N = np.unique(np.asarray(patients), return_inverse=True)
    hits_P = np.bincount(of_study_N, weights=found_N, minlength=len(names)).astype(np.int64)
    studies_P = np.bincount(of_study_N, minlength=len(names))
    return int((UNITS * hits_P // studies_P).sum())


def _interval(rate: float, num_patients: float, deviation: float) -> list[float]:
    """Normal interval for the sampling of patients and the noise of both counts together, cut to [0, 1]."""
    variance = rate * (1 - rate) / num_patients + (1 + rate**2) * (deviation / num_patients) ** 2
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    return [max(rate - reach, 0.0), min(rate + reach, 1.0)]
