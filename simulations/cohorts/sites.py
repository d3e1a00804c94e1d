"""What makes one site unlike another: scanners, prevalences, ages, races, house style, confounder.

Each part of a profile is `(1 - site_shift) x what all share + site_shift x the site's own`, and the site's
own depends on the seed and its place in the list alone: another `num_sites` leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.seeds import derive_seed, numpy_generator
from simulations.cohorts.findings import KINDS
from simulations.cohorts.grammar import HouseStyle
from simulations.cohorts.plan import PUBLIC, CohortPlan
from simulations.cohorts.scanners import PUBLIC_SCANNERS, SITE_SCANNERS, Scanner

RACES = ("Asian", "Black", "Other", "White")
SHARED_RACE_MIX = np.array([0.15, 0.20, 0.10, 0.55])
SHARED_AGE_YEARS = 60.0
MAIN_SCANNER_SHARE = 0.85

CONFOUNDED_FINDING = "pleural effusion"
MARKER_RATE = 0.3
MARKER_RATE_WITH_FINDING, MARKER_RATE_WITHOUT = 0.95, 0.05


@dataclass(frozen=True)
class SiteProfile:
    """One site's world.

    Attributes:
        name: The site, or `PUBLIC`.
        scanners: Units in use.
        scanner_mix: Probability of each unit.
        log_odds: By kind of finding, added to the log-odds of its prevalence.
        age_years: Mean age.
        male_share: Probability of a male patient.
        race_mix: Probability of each of `RACES`.
        style: How its radiologists write.
        marker_with_finding: Probability of the portable marker beside `CONFOUNDED_FINDING`.
        marker_without: Probability of the marker otherwise; equal to the former where nothing is confounded.
        planted: Kinds of bias against one group (`bias.py`).
    """

    name: str
    scanners: tuple[Scanner, ...]
    scanner_mix: tuple[float, ...]
    log_odds: Mapping[str, float]
    age_years: float
    male_share: float
    race_mix: tuple[float, ...]
    style: HouseStyle
    marker_with_finding: float = MARKER_RATE
    marker_without: float = MARKER_RATE
    planted: tuple[str, ...] = ()


def site_profiles(plan: CohortPlan) -> list[SiteProfile]:
    """The hospitals in order, then the public set if the plan has one."""
    profiles = [_hospital(plan, position, name) for position, name in enumerate(plan.site_names)]
    return [*profiles, _public()] if plan.public_patients else profiles


def _hospital(plan: CohortPlan, position: int, name: str) -> SiteProfile:
    rng = numpy_generator(plan.seed, "site", name)
    shift = plan.site_shift
    own_scanners = np.full(len(SITE_SCANNERS), (1.0 - MAIN_SCANNER_SHARE) / (len(SITE_SCANNERS) - 1))
    own_scanners[(position + plan.seed) % len(SITE_SCANNERS)] = MAIN_SCANNER_SHARE
    even_scanners = np.full(len(SITE_SCANNERS), 1.0 / len(SITE_SCANNERS))
    own_log_odds = rng.normal(0.0, 0.8, len(KINDS))
    own_age_years, own_male_share = rng.uniform(42.0, 72.0), rng.uniform(0.35, 0.65)
    own_races = rng.dirichlet(3.0 * SHARED_RACE_MIX)
    # The first site is confounded, the second is not, and so on: with two sites there is one of each.
    confounded = plan.confounder and position % 2 == 0
    return SiteProfile(
        name=name,
        scanners=SITE_SCANNERS,
        scanner_mix=_mixed(even_scanners, own_scanners, shift),
        log_odds={kind.name: shift * float(own) for kind, own in zip(KINDS, own_log_odds, strict=True)},
        age_years=(1.0 - shift) * SHARED_AGE_YEARS + shift * own_age_years,
        male_share=(1.0 - shift) * 0.5 + shift * own_male_share,
        race_mix=_mixed(SHARED_RACE_MIX, own_races, shift),
        style=HouseStyle(seed=derive_seed(plan.seed, "style", name), strength=0.85 * shift),
        marker_with_finding=MARKER_RATE_WITH_FINDING if confounded else MARKER_RATE,
        marker_without=MARKER_RATE_WITHOUT if confounded else MARKER_RATE,
        planted=plan.planted,
    )


def _public() -> SiteProfile:
    """A teaching collection: shared prevalences and ages, other scanners, textbook wording."""
    return SiteProfile(
        name=PUBLIC,
        scanners=PUBLIC_SCANNERS,
        scanner_mix=(0.5, 0.5),
        log_odds={kind.name: 0.0 for kind in KINDS},
        age_years=SHARED_AGE_YEARS,
        male_share=0.5,
        race_mix=tuple(SHARED_RACE_MIX.tolist()),
        style=HouseStyle(seed=None, strength=0.85),
    )


def _mixed(shared: NDArray[np.float64], own: NDArray[np.float64], shift: float) -> tuple[float, ...]:
    return tuple(((1.0 - shift) * shared + shift * own).tolist())
