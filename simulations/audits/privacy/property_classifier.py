"""A line between the updates of two kinds of hospital, learnt without noise for use on noised ones.

The attacker trains hospitals of its own of either kind, and knows the deviation of the noise that the updates under
attack carry. The line is Fisher's (Annals of Eugenics 7, 1936): the difference of the kinds' means, whitened by the
spread within a kind and that noise. Updates have many more values than there are hospitals, so that it is solved in the
space of the hospitals.

Shapes: W hospitals of the attacker, V under attack, P values of an update.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from client.audits.linear import Array


def fitted(shadow_WP: Array, kind_W: NDArray[np.bool_], *, deviation: float) -> Array:
    """Weights `[P]` of the line; a larger product with an update speaks for the kind that is true.

    Args:
        shadow_WP: Updates of the attacker's own hospitals, without noise.
        kind_W: Of which kind each is.
        deviation: Of the noise on each value of the updates that the line is for.
    """
    means = [shadow_WP[kind_W == kind].mean(axis=0) for kind in (True, False)]
    within_WP = shadow_WP - np.where(kind_W[:, None], means[0], means[1])
    freedom = max(len(shadow_WP) - 2, 1)
    # What few hospitals cannot tell of the spread is taken to be even over all values.
    even = deviation**2 + float((within_WP**2).mean())
    apart_P = means[0] - means[1]
    gram_WW = within_WP @ within_WP.T + freedom * even * np.eye(len(within_WP))
    return np.asarray((apart_P - within_WP.T @ np.linalg.solve(gram_WW, within_WP @ apart_P)) / even)
