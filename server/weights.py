"""How much each site counts: by the public band of its patients, and never much more than the site in the middle.

A band is the site's own claim; nobody else can count its patients. So a site counts at most `CAP` times the median of
the cohort: the lower one, which is the weight of a site. Bands double, so that a site one band above the median counts
in full and a larger one as three of the median's: the mean keeps most of what weights are for, and a claim buys
little. Of S sites, one that claims the largest band there is has a share of

- at most CAP / (S - 1 + CAP) where the others are of one band: 25% of 10 sites, where without a cap it has all;
- at most CAP / (S // 2 + CAP) whatever the others are, because at least S // 2 of them have the median or more.

As long as at most half of the sites lie, together or not, the median is at most the largest honest weight, and so no
site counts more than CAP times that. The mean uses these weights; robust rules ignore them.

Where sites share noise they all count alike: what they share cancels in no other mean. There each site divides its sum
by the same public number, so that a larger one has a longer update instead.

The noise that a site adds to its update under privacy goes about as one over its patients, so that a small site's
update is far from all others and a robust rule leaves it out each time. So where sites add noise of their own, every
rule sees the updates scaled (`scales_of`): those noisier than the cohort's median are shortened until their noise is as
long as the median's, and so count about as their patients do; the others stay as they are. How noisy a site is follows
from its public band and the run's plan. A claim buys no room: what a liar sends may be anything, scaled or not, and no
claim lengthens it beyond the site in the middle.

Hospitals that are served worse may count for more (`mitigation.site_power`): each by (1 - its recall)^q, which is the
weight of its gradient in q-FFL (Li et al., ICLR 2020, arXiv 1905.10497); the larger q, the nearer to the worst hospital
alone (AFL, Mohri et al., arXiv 1902.00146). The figures are in the config, as earlier runs released them: what follows
from them is post-processing, and no claim that a site makes in a run moves them. Under the same cap of the median they
weigh the mean and scale what every rule sees, so that a site that lied about its figures gains three of the median's at
most. A site without a figure counts as the mean of those with one.

Shapes: S sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median_high, median_low

import torch
from torch import Tensor

from common.config.schema import MitigationConfig
from common.privacy.bands import middle_of
from common.privacy.plan import PrivacyPlan

CAP = 3.0
"""Most that one site counts, in weights of the median site."""

LEAST_LACK = 0.01
"""Recall closer to 1 counts as this far from it: noise may say 1 of a site, which is still to be heard."""


def weights_of(bands: Sequence[str], factors: Sequence[float] | None = None) -> Tensor:
    """The weight `[S]` of each site from its band: the band's middle, up to the cap.

    Args:
        bands: Of each site.
        factors: What each counts beside its size, as `factors_of` gives it; None where that is all it counts by.

    Raises:
        AdmissionError: A text is not one of the bands.
    """
    middles = [middle_of(band) for band in bands]
    return _capped(middles if factors is None else [m * factor for m, factor in zip(middles, factors, strict=True)])


def factors_of(sites: Sequence[str], mitigation: MitigationConfig) -> list[float] | None:
    """How much more than by its size each site counts, up to the cap; None where all count by it alone."""
    recalls = {site: mitigation.site_recall[site] for site in sites if site in mitigation.site_recall}
    if not recalls:
        return None
    lacks = {site: max(1 - recall, LEAST_LACK) for site, recall in recalls.items()}
    mean = fmean(lacks.values())
    found: list[float] = _capped([(lacks.get(site, mean) / mean) ** mitigation.site_power for site in sites]).tolist()
    return found


def _capped(values: Sequence[float]) -> Tensor:
    most = CAP * median_low(values) if values else 0.0
    return torch.tensor([min(value, most) for value in values])


def noise_of(plan: PrivacyPlan, band: str) -> float:
    """Deviation of a coordinate of a site's update by its own noise, up to a factor that all sites of a run share.

    Raises:
        AdmissionError: The text is not one of the bands.
    """
    return plan.learning_rate * plan.event.noise_multiplier / middle_of(band)


def scales_of(noises: Sequence[float]) -> Tensor:
    """Scale `[S]` of each site's update from its noise: one over it, up to the median; all alike where one has none."""
    if 0 in noises:
        return torch.ones(len(noises))
    most = 1 / median_high(noises) if noises else 0.0
    return torch.tensor([min(1 / noise, most) for noise in noises])
