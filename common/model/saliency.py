"""Where in a picture its code agrees with another code: how the agreement falls where a window of it is blurred.

The agreement of a picture with a code is the mean over bits of the relaxed bit of the picture times the code's, in
(-1, 1): a picture whose relaxed code has reached its signs is `K (1 - agreement) / 2` bits apart. A window is moved
over the picture, what stands in it is replaced by the same picture blurred until its structures are gone, and the fall
of the agreement is noted; a place has the mean over the windows that hold it (occlusion: Zeiler and Fergus 2014,
arXiv:1311.2901; by captum). Blurred, not black: a black window is itself a structure that the tower reacts to.

Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) add up to the agreement, and were measured first: on
drawn chests they pointed at what was asked for no more often than chance (common/decisions/0050-where.md).

The number of windows is bounded, so is the time. A frozen network is looked through too, whether or not its features
were cached in training. The model itself is needed, not its ONNX graphs. A map says what this model reacts to, not what
a clinician would look at.

Shapes: B pictures, K bits, P bytes (P = K / 8), H height, W width of the network's input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageFilter
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from common.encoders.interface import Prefix
from common.errors import CheckFailed, ConfigError
from common.hashing.codes import Codes, unpack
from common.model.model import Model
from common.types import Image

WINDOW, STEP = 3 / 16, 1 / 16
"""Side of a window, and how far it moves, in sides of the network's input: 196 windows at most."""
BLUR = 1 / 4
"""Deviation of the blur, in longer sides of the picture."""
_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Saliency:
    """Where a picture's code agrees with another.

    Attributes:
        map_HW: By how much the agreement falls where the picture is blurred about a place, over the whole picture at
            the network's resolution: above 0 where what stands there brings it nearer, below where it takes it away.
        agreement: Of the whole picture with the code, in (-1, 1).
        distance: Bits between the picture's code and the other.
        blurred_distance: The same of the picture, all of it blurred.
    """

    map_HW: NDArray[np.float32]
    agreement: float
    distance: int
    blurred_distance: int


def saliency(model: Model, picture: Image, code_P: Codes) -> Saliency:
    """Where a picture agrees with a code.

    Args:
        model: Makes codes.
        picture: Grey, `[height, width]`, of any size.
        code_P: What it is held against, packed.

    Raises:
        ConfigError: The model sees a part of the picture alone, so that no map lies over it.
        CheckFailed: The model gives no number.
        ValueError: The code is of another width.
    """
    from captum.attr import Occlusion  # here: it brings matplotlib, and takes seconds to import

    if code_P.shape != (model.bit_width // 8,):
        raise ValueError(f"a code of {code_P.size * 8} bits is not of a model of {model.bit_width} bits")
    prefix = model.encoder.image_prefix()
    _check_whole(prefix, picture.shape)
    agreement = _Agreement(model, prefix.network, code_P)
    seen, without = _input(prefix, picture), _input(prefix, blurred(picture))
    height, width = seen.shape[-2:]
    channels = tuple(seen.shape[1:-2])
    fall = Occlusion(agreement).attribute(
        seen,
        sliding_window_shapes=(*channels, max(1, round(WINDOW * height)), max(1, round(WINDOW * width))),
        strides=(*channels, max(1, round(STEP * height)), max(1, round(STEP * width))),
        baselines=without,
        perturbations_per_eval=_AT_ONCE,
    )
    if not bool(fall.isfinite().all()):
        raise CheckFailed("the model gives no number for this picture; wardround model verify")
    with torch.no_grad():
        return Saliency(
            map_HW=fall[(0,) * (fall.ndim - 2)].numpy(),  # a window holds all channels, and they fall together
            agreement=float(agreement(seen)),
            distance=agreement.distance(seen),
            blurred_distance=agreement.distance(without),
        )


class _Agreement(nn.Module):
    """A network's input to its agreement `[B]` with a code."""

    sign_K: Tensor

    def __init__(self, model: Model, network: nn.Module, code_P: Codes) -> None:
        super().__init__()
        self._network, self._frozen, self._dual = network, model.frozen.image, model.dual
        self.register_buffer("sign_K", 2.0 * torch.from_numpy(unpack(code_P[None])[0]).float() - 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Agreement `[B]` of prepared pictures."""
        return (self._relaxed(pixels) * self.sign_K).mean(dim=-1)

    def distance(self, pixels: Tensor) -> int:
        """Bits between the code of one prepared picture and the other."""
        return int(((self._relaxed(pixels)[0] >= 0) != (self.sign_K > 0)).sum())

    def _relaxed(self, pixels: Tensor) -> Tensor:
        return self._dual.embed_images(self._frozen(self._network(pixels))).code


def blurred(picture: Image) -> Image:
    """The picture without its structures."""
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
