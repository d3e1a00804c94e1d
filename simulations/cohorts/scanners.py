"""What a scanner makes of the attenuation: tone, blur, edge enhancement, collimation, letters, noise.

The makers and models are invented. Shape legend: H height, W width of an image in pixels (equal).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from common.types import Image
from simulations.cohorts.shapes import Array


@dataclass(frozen=True)
class Scanner:
    """One model of X-ray unit; lengths are fractions of the image's side.

    Attributes:
        name: As in the manifest.
        exposure: Tissue brightness before the tone curve.
        gain: Contrast of the display.
        gamma: Exponent of the tone curve; above 1 darkens the lungs.
        lift: Brightness of black.
        blur: Standard deviation of the point spread.
        enhancement: Weight of the unsharp mask.
        noise: Standard deviation of the noise at full brightness, grey levels of 255.
        border: Mean width of the black collimation border.
        letter: Letter of the side marker, "R" or "L"; it stands on that side of the patient.
    """

    name: str
    exposure: float
    gain: float
    gamma: float
    lift: float
    blur: float
    enhancement: float
    noise: float
    border: float
    letter: str


SITE_SCANNERS = (
    Scanner("Aldermoor DX-1", 0.95, 1.00, 1.00, 0.00, 0.006, 0.4, 5.0, 0.01, "L"),
    Scanner("Kestrel CR 40", 0.75, 1.15, 0.80, 0.06, 0.014, 0.0, 8.0, 0.04, "R"),
    Scanner("Halden Mobile 3", 1.15, 0.90, 1.25, 0.03, 0.011, 0.0, 9.0, 0.00, "L"),
    Scanner("Oriel FlatView", 1.05, 1.05, 1.10, 0.00, 0.004, 0.9, 4.0, 0.02, "R"),
)
"""The hospitals' units."""

PUBLIC_SCANNERS = (
    Scanner("Tarn Film Digitiser", 0.75, 0.80, 1.45, 0.16, 0.020, 0.0, 6.0, 0.05, "L"),
    Scanner("Corvale DR Archive", 1.35, 0.95, 0.70, 0.00, 0.003, 1.6, 5.0, 0.03, "R"),
)
"""The units of the public set, used by no hospital."""

BIASED_SCANNER = Scanner("Merrow Bedside 2", 0.45, 0.70, 0.55, 0.30, 0.010, 0.0, 3.0, 0.02, "R")
"""The unit of planted bias: pale and flat, dense tissue barely above the lungs, little noise; no detail is lost."""

SCANNERS = {scanner.name: scanner for scanner in (*SITE_SCANNERS, *PUBLIC_SCANNERS, BIASED_SCANNER)}


@dataclass(frozen=True)
class Exposure:
    """What the scanner did to one image, the variation between two exposures included.

    Attributes:
        scanner: Name of the unit.
        gain: Contrast.
        gamma: Exponent of the tone curve.
        blur: Standard deviation of the point spread, fraction of the image's side.
        noise: Standard deviation of the noise, grey levels of 255.
        border: Width of the collimation border, fraction of the image's side.
        portable: The confounder bit: whether the portable-unit marker is in the picture.
    """

    scanner: str
    gain: float
    gamma: float
    blur: float
    noise: float
    border: float
    portable: bool


def draw_exposure(scanner: Scanner, rng: np.random.Generator, *, portable: bool) -> Exposure:
    """One exposure: the unit's settings within the spread of daily work."""
    spread_4 = np.exp(rng.normal(0.0, 0.06, 4))
    return Exposure(
        scanner=scanner.name,
        gain=float(scanner.gain * spread_4[0]),
        gamma=float(scanner.gamma * spread_4[1]),
        blur=float(scanner.blur * spread_4[2]),
        noise=float(scanner.noise * spread_4[3]),
        border=float(scanner.border * rng.uniform(0.0, 2.0)),
        portable=portable,
    )


def develop(attenuation_HW: Array, exposure: Exposure) -> Array:
    """The picture without its noise, grey levels 0 to 255: an exposure of infinite dose."""
    scanner = SCANNERS[exposure.scanner]
    picture_HW = 1.0 - np.exp(-scanner.exposure * attenuation_HW)
    picture_HW = _blurred(picture_HW, exposure.blur)
    if scanner.enhancement:
        picture_HW = picture_HW + scanner.enhancement * (picture_HW - _blurred(picture_HW, 0.03))
    tone_HW = scanner.lift + (1.0 - scanner.lift) * exposure.gain * np.clip(picture_HW, 0.0, 1.0) ** exposure.gamma
    letter_right = scanner.letter == "L"  # the patient faces us
    _stamp(tone_HW, scanner.letter, right=letter_right, low=False)
    if exposure.portable:
        _stamp(tone_HW, "P", right=not letter_right, low=True)
    return np.asarray(255.0 * np.clip(tone_HW, 0.0, 1.0) * _collimation(len(tone_HW), exposure.border))


def add_noise(picture_HW: Array, exposure: Exposure, rng: np.random.Generator) -> Image:
    """The picture as stored: noise that grows with brightness, then whole grey levels."""
    noise_HW = (
        rng.standard_normal(picture_HW.shape, dtype=np.float32) * exposure.noise * (0.4 + 0.6 * picture_HW / 255.0)
    )
    return np.clip(np.rint(picture_HW + noise_HW), 0, 255).astype(np.uint8)


def _blurred(picture_HW: Array, sigma: float) -> Array:
    """Gaussian blur as one matrix from each side, because the kernel separates."""
    size = len(picture_HW)
    smoothing = _blur_matrix(size, round(sigma * size, 2))
    return np.asarray(smoothing @ picture_HW @ smoothing.T)


@lru_cache(maxsize=512)
def _blur_matrix(size: int, sigma_pixels: float) -> Array:
    pixel = np.arange(size, dtype=np.float32)
    weight = np.exp(-0.5 * ((pixel[:, None] - pixel[None, :]) / max(sigma_pixels, 0.1)) ** 2)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _collimation(size: int, border: float) -> Array:
    """1 inside the collimated field, 0 in the border; the edge falls within a pixel."""
    centre = np.arange(size, dtype=np.float32) + 0.5
    open_W = np.clip(np.minimum(centre, size - centre) - border * size, 0.0, 1.0)
    return np.asarray(open_W[:, None] * open_W[None, :])


GLYPHS = {
    "L": ("100", "100", "100", "100", "111"),
    "R": ("110", "101", "110", "101", "101"),
    "P": ("111", "101", "111", "100", "100"),
}


def _stamp(picture_HW: Array, letter: str, *, right: bool, low: bool) -> None:
    """Write a lead letter into a corner, in place; lead stops the beam, so it is white."""
    size = len(picture_HW)
    scale, margin = max(1, size // 48), size // 14
    glyph = np.array([[int(dot) for dot in row] for row in GLYPHS[letter]], dtype=np.float32)
    glyph = glyph.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width = glyph.shape
    top = size - margin - height if low else margin
    left = size - margin - width if right else margin
    corner = picture_HW[top : top + height, left : left + width]
    np.maximum(corner, glyph, out=corner)
