"""How much of a change a reader could see: the share of the body that moved, and structural similarity.

SSIM is that of Wang, Bovik, Sheikh and Simoncelli (IEEE TIP 13(4), 2004, doi:10.1109/TIP.2003.819861): means,
variances and covariance under a Gaussian window of deviation 1.5 (11 x 11 pixels), stabilised by 0.01 and 0.03 of the
grey range. 1 is the same image.

Shapes: B images of H x W pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from common.adversarial.ascent import WHITE, body_of

WINDOW_DEVIATION, WINDOW_CUT = 1.5, 3.5
"""In pixels, and where the window ends, in deviations."""
STABILISERS = (0.01 * WHITE) ** 2, (0.03 * WHITE) ** 2


def moved_share(before_BHW: Tensor, after_BHW: Tensor) -> float:
    """Share of the pixels that are not black whose grey value, rounded, is another."""
    body_BHW = body_of(before_BHW)
    moved_BHW = (after_BHW.round() != before_BHW.to(after_BHW)) * body_BHW
    return float(moved_BHW.sum() / body_BHW.sum().clamp(min=1))


def ssim(before_BHW: Tensor, after_BHW: Tensor) -> float:
    """Mean structural similarity of images before and after a change, over all windows of all images."""
    pairs = zip(before_BHW.double().numpy(), after_BHW.double().numpy(), strict=True)
    return float(np.mean([_similarity(before, after).mean() for before, after in pairs]))


def _similarity(one_HW: NDArray[np.float64], other_HW: NDArray[np.float64]) -> NDArray[np.float64]:
    mean_one, mean_other = _blurred(one_HW), _blurred(other_HW)
    spread = _blurred(one_HW**2) - mean_one**2 + _blurred(other_HW**2) - mean_other**2
    shared = _blurred(one_HW * other_HW) - mean_one * mean_other
    light, contrast = STABILISERS
    found: NDArray[np.float64] = ((2 * mean_one * mean_other + light) * (2 * shared + contrast)) / (
        (mean_one**2 + mean_other**2 + light) * (spread + contrast)
    )
    return found


def _blurred(image_HW: NDArray[np.float64]) -> NDArray[np.float64]:
    blurred: NDArray[np.float64] = gaussian_filter(image_HW, WINDOW_DEVIATION, truncate=WINDOW_CUT)
    return blurred
