"""Rebuilds a picture from the update of a vision transformer: the closed form of APRIL (Lu et al., CVPR 2022).

A transformer of patches adds a trained position to each patch's token, so that the gradient of the positions is that of
the tokens, D; and the gradient of the linear map of the patches is D^T X, with the patches X. What an update holds of
the two is their sum over the steps, times the same learning rate and clip, which cancel: of one study X solves

    D^T X = G

exactly, over one step or over many (the studies of several patients are mixed, by how much each of them moved the
model). It is the analytic sibling of the searches of Zhu et al. (arXiv 1906.08935) and Geiping et al. (arXiv
2003.14053), needs no search, and finds the picture itself where these come near it.

With noise on D and G alike, whose deviation the update itself shows (`noise_in`), X is the most likely picture under a
prior of public ones: a ridge towards their mean. An entry of G less D^T X then has a variance of (1 + number of
patches) times that of the noise, as patches are of unit size. Where noise drowns everything, what comes out is the
public mean.

Shapes: N patches, W width, P pixels of a patch, H x H pixels of a picture, B pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.adversarial.ascent import WHITE
from common.encoders.scratch import standardised
from common.wire.update import NamedArrays

POSITIONS, PATCHES = "image_tower.trunk.positions", "image_tower.trunk.patches.weight"
WORDS = "report_tower.trunk.words.weight"
_OF_MEDIAN = 1.4826
"""Deviation of Gaussian noise over the median of its size."""
ROUNDING = 2.0**-24
"""Of a weight: an update is a difference of weights in float32."""


@dataclass(frozen=True, eq=False)
class Prior:
    """What is public of pictures.

    Attributes:
        mean_NP: Mean patches, of pictures each less its mean and over its spread.
        variance: Of a pixel around them.
        grey: Mean grey value of a picture.
        spread: Mean spread of its grey values.
    """

    mean_NP: Tensor
    variance: float
    grey: float
    spread: float

    @classmethod
    def of(cls, pictures_BHH: Tensor, *, patch_size: int) -> Prior:
        """The prior that public pictures make."""
        grey_BHH = pictures_BHH.double()
        patches_BNP = patches_of(standardised(grey_BHH), patch_size)
        mean_NP = patches_BNP.mean(dim=0)
        return cls(
            mean_NP=mean_NP,
            variance=float((patches_BNP - mean_NP).square().mean()),
            grey=float(grey_BHH.mean()),
            spread=float(grey_BHH.flatten(1).std(dim=1).mean()),
        )

    def picture(self, patches_NP: Tensor) -> Tensor:
        """Grey picture `[H, H]` of patches as the transformer sees them."""
        size, side = math.isqrt(patches_NP.shape[1]), math.isqrt(len(patches_NP))
        grid = patches_NP.view(side, side, size, size).transpose(1, 2).reshape(side * size, side * size)
        return (grid * self.spread + self.grey).clamp(0, WHITE)

    def as_seen(self, pictures_BHH: Tensor) -> Tensor:
        """Grey pictures with the brightness and contrast that are public: more than that the transformer never sees."""
        return (standardised(pictures_BHH.double()) * self.spread + self.grey).clamp(0, WHITE)


def patches_of(pictures_BHH: Tensor, patch_size: int) -> Tensor:
    """Patches `[B, N, P]` of pictures, in the transformer's order."""
    grid = pictures_BHH.unflatten(-1, (-1, patch_size)).unflatten(-3, (-1, patch_size))
    patches_BNP: Tensor = grid.transpose(-3, -2).flatten(-2).flatten(-3, -2)
    return patches_BNP


def noise_in(update: NamedArrays) -> float:
    """Deviation of the noise on an update, measured where a patient's reports leave no trace: most words are in none.

    So the attack believes no plan: where less noise was added than was stated, it makes use of that.
    """
    return _OF_MEDIAN * float(np.median(np.abs(update[WORDS])))


def rebuilt_patches(update: NamedArrays, prior: Prior, *, deviation: float) -> Tensor:
    """The most likely patches `[N, P]` behind an update.

    Args:
        update: New less old weights, less what is known to be of public studies.
        prior: What is public of pictures.
        deviation: Of the noise on each entry of the update; at least its rounding.
    """
    moved_NW = torch.as_tensor(update[POSITIONS]).double()
    sums_WP = torch.as_tensor(update[PATCHES]).double()
    left_WP = sums_WP - moved_NW.T @ prior.mean_NP
    ridge = deviation**2 * (1 + len(moved_NW)) / max(prior.variance, torch.finfo(torch.float32).tiny)
    gram_NN = moved_NW @ moved_NW.T + max(ridge, torch.finfo(torch.float32).tiny) * torch.eye(len(moved_NW)).double()
    found_NP: Tensor = torch.linalg.lstsq(gram_NN, moved_NW @ left_WP, driver="gelsd").solution
    return prior.mean_NP + found_NP
