"""The likelihood ratio attack on membership, with few shadows (Carlini et al., S&P 2022, arXiv 2112.03570).

For each patient it is known from other models, trained with and without that patient, what the statistic is like either
way. A new model's statistic is then scored by how much likelier it is with the patient than without. With few shadows
the variances of single patients cannot be told, so that one of all patients is taken for each side (their section
VI.C), and the error of a mean over k shadows is added to it: the variance of a new value around that mean is (1 + 1/k)
times that of the statistic.

Every model is the target once, with all others as its shadows.

Shapes: W models, P patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from client.audits.linear import Array, area_under_curve
from common.fairness.intervals import Interval
from simulations.audits.code_inversion import area_interval

LEAST_SHADOWS = 2
"""With and without a patient, each: with fewer the patient is not judged for that model."""

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Worlds:
    """Models, each trained with some of the patients.

    Attributes:
        statistic_WP: What is seen of each patient at each model; larger where it was trained on.
        member_WP: Whether it was.
    """

    statistic_WP: Array
    member_WP: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well members are told from others, over all models.

    Attributes:
        num_patients: That were judged.
        num_models: At which.
        area: Probability that a member scores above another, ties half. 0.5: chance.
        area_interval: Of it, 95%, over patients.
        advantage: Detections less false alarms where the likelihoods are even: no threshold is chosen by the outcome.
        advantage_interval: Of it, 95%.
        detections: Share of members found, by rate of false alarms.
    """

    num_patients: int
    num_models: int
    area: float
    area_interval: Interval
    advantage: float
    advantage_interval: Interval
    detections: dict[float, tuple[float, Interval]]


def likelihood_ratios(worlds: Worlds) -> Array:
    """Log likelihood ratio of each patient at each model `[W, P]`; NaN where there are too few shadows."""
    statistic_WP, member_WP = worlds.statistic_WP, worlds.member_WP
    score_WP = np.full_like(statistic_WP, np.nan)
    for target in range(len(statistic_WP)):
        shadows_W = np.arange(len(statistic_WP)) != target
        sides = [_side(statistic_WP[shadows_W], member_WP[shadows_W] == inside) for inside in (True, False)]
        inside_P, outside_P = (norm.logpdf(statistic_WP[target], mean_P, spread_P) for mean_P, spread_P in sides)
        score_WP[target] = inside_P - outside_P
    return score_WP


def _side(statistic_SP: Array, here_SP: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Mean and predictive deviation `[P]` of the shadows on one side; NaN of a patient with too few of them."""
    count_P = here_SP.sum(axis=0).astype(np.float64)
    count_P[count_P < LEAST_SHADOWS] = np.nan
    mean_P = (statistic_SP * here_SP).sum(axis=0) / count_P
    enough_P = np.isfinite(mean_P)
    residual_SP = np.where(here_SP, statistic_SP - mean_P, 0.0)[:, enough_P]
    variance = (residual_SP**2).sum() / max((count_P[enough_P] - 1).sum(), 1.0)
    return mean_P, np.sqrt((variance + _TINY) * (1 + 1 / count_P))


def told(
    worlds: Worlds,
    *,
    generator: np.random.Generator,
    num_resamples: int,
    rates: tuple[float, ...] = (0.001, 0.01, 0.1),
) -> Told:
    """How well the attack tells members, with intervals over patients.

    Args:
        worlds: Models and members.
        generator: Of the bootstrap.
        num_resamples: Of the bootstrap.
        rates: Of false alarms at which detections are told.

    Raises:
        ValueError: No patient has shadows enough on both sides.
    """
    score_WP = likelihood_ratios(worlds)
    world_N, patient_N = np.nonzero(np.isfinite(score_WP))
    if not len(world_N):
        raise ValueError("no patient was both in and out of enough models; train more")
    score_N, member_N = score_WP[world_N, patient_N], worlds.member_WP[world_N, patient_N].astype(np.float64)
    names_N = patient_N.astype(str)
    drawn = [_resampled(patient_N, generator) for _ in range(num_resamples)]

    def interval(values: list[float]) -> Interval:
        low, high = np.quantile(values, [0.025, 0.975])
        return Interval(float(low), float(high))

    return Told(
        num_patients=len(np.unique(patient_N)),
        num_models=len(score_WP),
        area=area_under_curve(score_N, member_N),
        area_interval=area_interval(score_N, member_N, names_N, generator, num_resamples),
        advantage=_advantage(score_N, member_N),
        advantage_interval=interval([_advantage(score_N[rows], member_N[rows]) for rows in drawn]),
        detections={
            rate: (
                detections_at(score_N, member_N, rate),
                interval([detections_at(score_N[rows], member_N[rows], rate) for rows in drawn]),
            )
            for rate in rates
        },
    )


def _advantage(score_N: Array, member_N: Array) -> float:
    """Detections less false alarms of scores above 0."""
    said_N = score_N > 0
    return float(said_N[member_N > 0].mean() - said_N[member_N == 0].mean())


def detections_at(score_N: Array, member_N: Array, rate: float) -> float:
    """Share of members above the threshold that so many others, and no more, are above."""
    others = np.sort(score_N[member_N == 0])[::-1]
    threshold = others[min(int(rate * len(others)), len(others) - 1)]
    return float((score_N[member_N > 0] > threshold).mean())


def _resampled(patient_N: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.intp]:
    """Rows of whole patients, drawn with replacement."""
    order = np.argsort(patient_N, kind="stable")
    _, starts = np.unique(patient_N[order], return_index=True)
    rows = np.split(order, starts[1:])
    return np.concatenate([rows[i] for i in generator.integers(len(rows), size=len(rows))])
