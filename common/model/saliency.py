"""Where in a picture its code agrees with another code: integrated gradients of the agreement, over the picture.

The agreement of a picture with a code is the mean over bits of the relaxed bit of the picture times the code's, in
(-1, 1): a picture whose relaxed code has reached its signs is `K (1 - agreement) / 2` bits apart. Integrated gradients
(Sundararajan et al. 2017, arXiv:1703.01365; by captum) share out among the pixels by how much the agreement of the
picture is above that of the same picture blurred until its structures are gone, along the straight line between the
two. They add up to that difference (completeness), which is checked here each time: a map that does not is not shown.

The baseline is blurred, not black: a tower that standardises each picture sees nothing of how black or pale a flat one
is, so that its whole change would lie in the first hundredth of the line.

It needs the gradient, so the model itself: an ONNX graph gives none. A frozen backbone is differentiated too, whether
or not its features were cached in training. A map says what this model reacts to, not what a clinician would look at;
how far the two agree was measured (common/decisions/0050-where.md).

Shapes: B pictures, K bits, P bytes (P = K / 8), H height, W width of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageFilter
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn.functional import normalize

from common.encoders.interface import Prefix
from common.errors import CheckFailed, ConfigError
from common.hashing.codes import Codes, unpack
from common.hashing.head import relaxed_codes
from common.model.model import Model
from common.types import Image

STEPS = 32
"""Points of the line at which the gradient is taken (Gauss-Legendre)."""
_AT_ONCE = 8
BLUR = 1 / 8
"""Deviation of the baseline's blur, in longer sides of the picture."""
SMOOTH = 1 / 32
"""Deviation of the smoothed map's blur, in sides."""
MOST_GAP = 0.02
"""Of the map's sum from the difference that it shares out, in units of agreement."""


@dataclass(frozen=True, kw_only=True)
class Saliency:
    """Where a picture's code agrees with another.

    Attributes:
        map_HW: Share of each place in `agreement - baseline`, over the whole picture at the network's resolution: above
            0 where the picture is nearer to the code for what stands there, below where it is farther.
        agreement: Of the picture with the code, in (-1, 1).
        baseline: Of the blurred picture.
        distance: Bits between the picture's code and the other.
        baseline_distance: Of the blurred picture's code.
    """

    map_HW: NDArray[np.float32]
    agreement: float
    baseline: float
    distance: int
    baseline_distance: int

    def smoothed(self) -> NDArray[np.float32]:
        """The map `[H, W]` as it is to be looked at: single pixels of a gradient say nothing."""
        deviations = [SMOOTH * side for side in self.map_HW.shape]
        smooth_HW: NDArray[np.float32] = gaussian_filter(self.map_HW, deviations, mode="nearest")
        return smooth_HW


def saliency(model: Model, picture: Image, code_P: Codes, *, steps: int = STEPS) -> Saliency:
    """Where a picture agrees with a code.

    Args:
        model: Makes codes.
        picture: Grey, `[height, width]`, of any size.
        code_P: What it is held against, packed.
        steps: Points at which the gradient is taken; each costs about as much as to encode three pictures.

    Raises:
        ConfigError: The model sees a part of the picture alone, so that no map lies over it.
        CheckFailed: The map does not add up to what it explains.
        ValueError: The code is of another width.
    """
    from captum.attr import IntegratedGradients  # here: it brings matplotlib, and takes seconds to import

    if code_P.shape != (model.bit_width // 8,):
        raise ValueError(f"a code of {code_P.size * 8} bits is not of a model of {model.bit_width} bits")
    prefix = model.encoder.image_prefix()
    _check_whole(prefix, picture.shape)
    agreement = Agreement(model, prefix.network, code_P)
    seen, baseline = _input(prefix, picture), _input(prefix, blurred(picture))
    attributed, gap = IntegratedGradients(agreement).attribute(
        seen, baseline, n_steps=steps, internal_batch_size=_AT_ONCE, return_convergence_delta=True
    )
    if not float(gap.abs().max()) <= MOST_GAP:  # also of NaN
        raise CheckFailed("the map does not add up to the agreement that it explains; it is not shown")
    with torch.no_grad():
        of_picture, of_baseline = (float(agreement(one)) for one in (seen, baseline))
        distances = [agreement.distance(one) for one in (seen, baseline)]
    plane_HW = attributed[0] if attributed.ndim == 3 else attributed[0].sum(dim=0)
    return Saliency(
        map_HW=plane_HW.detach().numpy().astype(np.float32),
        agreement=of_picture,
        baseline=of_baseline,
        distance=distances[0],
        baseline_distance=distances[1],
    )


class Agreement(nn.Module):
    """A network's input to its agreement `[B]` with a code.

    The embedding is not detached before the hash head, as it is in training (`common/encoders/dual.py`): what is asked
    is how the code hangs on the picture.
    """

    sign_K: Tensor

    def __init__(self, model: Model, network: nn.Module, code_P: Codes) -> None:
        super().__init__()
        self._network, self._frozen, self._dual = network, model.frozen.image, model.dual
        self.register_buffer("sign_K", 2.0 * torch.from_numpy(unpack(code_P[None])[0]).float() - 1)

    def relaxed(self, pixels: Tensor) -> Tensor:
        """Relaxed codes `[B, K]`."""
        embedding = normalize(self._dual.image_tower(self._frozen(self._network(pixels))), dim=-1)
        return relaxed_codes(self._dual.hash_head, embedding)

    def distance(self, pixels: Tensor) -> int:
        """Bits between the code of one prepared picture and the other."""
        return int(((self.relaxed(pixels)[0] >= 0) != (self.sign_K > 0)).sum())

    def forward(self, pixels: Tensor) -> Tensor:
        """Agreement `[B]` of prepared pictures."""
        return (self.relaxed(pixels) * self.sign_K).mean(dim=-1)


def blurred(picture: Image) -> Image:
    """The picture without its structures: what a map explains the difference from."""
    radius = BLUR * max(picture.shape)
    return np.asarray(PIL.Image.fromarray(picture).filter(PIL.ImageFilter.GaussianBlur(radius)))


def _input(prefix: Prefix[Image], picture: Image) -> Tensor:
    (prepared,) = prefix.prepare([picture]).values()
    return prepared.float().contiguous()


def _check_whole(prefix: Prefix[Image], shape: tuple[int, ...]) -> None:
    """Return where the network sees all four edges of a picture; some preparations cut a middle part out.

    Raises:
        ConfigError: It does not.
    """
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    seen = _input(prefix, noise)
    for turns in range(4):
        turned = np.rot90(noise, turns).copy()
        edge = turned[: max(2, len(turned) // 64)]
        edge[:] = edge[:, ::-1].copy()  # the same greys at other places: an equalised tone is not changed
        if torch.equal(_input(prefix, np.rot90(turned, -turns).copy()), seen):
            raise ConfigError("the model's preparation cuts edges off pictures, so that no map can be laid over them")
