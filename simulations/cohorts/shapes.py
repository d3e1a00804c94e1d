"""Soft shapes on a grid: every part of a phantom is a sum of these, with edges that fade instead of stepping.

Coordinates: x to the image's right, y down, both -1 to 1 over the image.
Shape legend: H height, W width in pixels.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
"""Single precision throughout: twice as fast, and far finer than a grey level."""

EDGE = 0.02
"""Default width of a soft edge; two thirds of a pixel at 64 x 64."""


def rise(distance_HW: Array, edge: float = EDGE) -> Array:
    """0 where the distance is well below zero, 1 well above, a logistic edge between."""
    return np.asarray(0.5 + 0.5 * np.tanh(distance_HW / (2.0 * edge)))


def disc(x_HW: Array, y_HW: Array, *, radius_x: float, radius_y: float, edge: float = EDGE) -> Array:
    """A filled ellipse about the origin of the given coordinates."""
    radius_HW = np.sqrt((x_HW / radius_x) ** 2 + (y_HW / radius_y) ** 2)
    return rise((1.0 - radius_HW) * min(radius_x, radius_y), edge)


def bulge(x_HW: Array, y_HW: Array, *, radius_x: float, radius_y: float) -> Array:
    """A ball of tissue: as thick as the beam's way through it, with a peak of 1."""
    return np.asarray(np.sqrt(np.clip(1.0 - (x_HW / radius_x) ** 2 - (y_HW / radius_y) ** 2, 0.0, None)))


def stroke(distance_HW: Array, width: float) -> Array:
    """A line where the distance is zero, Gaussian across."""
    return np.asarray(np.exp(-0.5 * (distance_HW / width) ** 2))


def segment(x_HW: Array, y_HW: Array, start: tuple[float, float], end: tuple[float, float], *, width: float) -> Array:
    """A straight line between two points, Gaussian across."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length_squared = along_x**2 + along_y**2
    part_HW = ((x_HW - start[0]) * along_x + (y_HW - start[1]) * along_y) / length_squared
    part_HW = np.clip(part_HW, 0.0, 1.0)
    distance_HW = np.hypot(x_HW - start[0] - part_HW * along_x, y_HW - start[1] - part_HW * along_y)
    return stroke(distance_HW, width)


def polyline(x_HW: Array, y_HW: Array, points: list[tuple[float, float]], *, width: float) -> Array:
    """Straight lines from point to point, no brighter where they meet."""
    pieces = [segment(x_HW, y_HW, start, end, width=width) for start, end in pairwise(points)]
    return np.asarray(np.maximum.reduce(pieces))


def turned(x_HW: Array, y_HW: Array, angle: float) -> tuple[Array, Array]:
    """The same points in axes turned by an angle in radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * x_HW + sine * y_HW, -sine * x_HW + cosine * y_HW


def mottle(x_HW: Array, y_HW: Array, *, wave_number: float, seed: int) -> Array:
    """Random texture of mean 0 and variance 1: six plane waves of one wave number in random directions."""
    rng = np.random.default_rng(seed)
    angles, phases = rng.uniform(0.0, math.pi, 6).tolist(), rng.uniform(0.0, 2.0 * math.pi, 6).tolist()
    waves = [
        np.cos(wave_number * math.cos(angle) * x_HW + wave_number * math.sin(angle) * y_HW + phase)
        for angle, phase in zip(angles, phases, strict=True)
    ]
    return np.asarray(np.sum(waves, axis=0) / math.sqrt(3.0))
