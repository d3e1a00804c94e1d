"""Whose values a rule took that picks by coordinate.

Shapes: T points, A admitted sites, B sampled coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from strategies.cohort import Cohort


def picked_shares(cohort: Cohort, places: range) -> Tensor:
    """Share `[A]` of every site where a rule takes some places of each coordinate's ascending order.

    Counted at an even sample of the coordinates where these are many: it is for the report, not for the result.
    """
    order_TB = cohort.sampled_rows().sort(dim=0, stable=True).indices[places.start : places.stop]
    counts_T = torch.bincount(order_TB.flatten().cpu(), minlength=cohort.num_points).double()
    return cohort.site_weights(counts_T)
