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

Shapes: S sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

import torch
from torch import Tensor

from common.privacy.bands import middle_of

CAP = 3.0
"""Most that one site counts, in weights of the median site."""


def weights_of(bands: Sequence[str]) -> Tensor:
    """The weight `[S]` of each site from its band: the band's middle, up to the cap.

    Raises:
        AdmissionError: A text is not one of the bands.
    """
    middles = [middle_of(band) for band in bands]
    most = CAP * median_low(middles) if middles else 0.0
    return torch.tensor([min(middle, most) for middle in middles])
