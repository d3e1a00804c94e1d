"""What each finding adds to the attenuation or takes from it; side and zone place it, severity sizes it.

Shape legend: H height, W width in pixels. `direction` is -1 for the patient's right side, +1 for the left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from simulations.cohorts.findings import Finding
from simulations.cohorts.shapes import EDGE, Array, bulge, disc, mottle, rise, segment, stroke, turned
from simulations.cohorts.thorax import RIB_SPACING, Chest, cage_half_width, heart, rib_height

Lesion = Callable[[Chest, Finding], Array]
OneSidedLesion = Callable[[Chest, Finding, int], Array]


def draw_finding(chest: Chest, finding: Finding) -> Array:
    """Change of the attenuation, `[H, W]`, by one finding."""
    if finding.name in MIDLINE_LESIONS:
        return MIDLINE_LESIONS[finding.name](chest, finding)
    lesion = ONE_SIDED_LESIONS[finding.name]
    return np.asarray(sum(lesion(chest, finding, direction) for direction in finding.directions))


def _pleural_effusion(chest: Chest, finding: Finding, direction: int) -> Array:
    """Fluid at the base, with a meniscus that climbs the lateral wall."""
    height = (0.16, 0.36, 0.60)[finding.grade]
    across_HW = np.clip(direction * chest.x / chest.anatomy.half_width, 0.0, 1.2)
    surface_HW = chest.dome(direction) + 0.10 - height - 0.22 * across_HW**3
    return 0.75 * chest.lung(direction) * rise(chest.y - surface_HW, 0.03)


def _consolidation(chest: Chest, finding: Finding, direction: int) -> Array:
    """A cloud without a clear edge, mottled by the air in the bronchi."""
    radius = (0.15, 0.21, 0.28)[finding.grade]
    x, y = chest.zone_centre(direction, finding.zone, finding.place)
    cloud_HW = np.exp(-((((chest.x - x) / radius) ** 2 + ((chest.y - y) / (0.8 * radius)) ** 2) ** 1.5))
    grain_HW = mottle(chest.x, chest.y, wave_number=26.0, seed=finding.texture_seed)
    return 0.55 * chest.lung(direction) * cloud_HW * (1.0 + 0.35 * grain_HW)


def _nodule(chest: Chest, finding: Finding, direction: int) -> Array:
    """A small round spot with a sharp edge."""
    radius = (0.050, 0.066, 0.084)[finding.grade]
    x, y = chest.zone_centre(direction, finding.zone, finding.place)
    return 0.70 * disc(chest.x - x, chest.y - y, radius_x=radius, radius_y=radius)


def _mass(chest: Chest, finding: Finding, direction: int) -> Array:
    """A large lobulated ball."""
    radius = (0.13, 0.175, 0.225)[finding.grade]
    x, y = chest.zone_centre(direction, finding.zone, finding.place)
    lateral_HW, down_HW = chest.x - x, chest.y - y
    lobes = np.random.default_rng(finding.texture_seed).uniform(0.0, 2.0 * np.pi, 2).tolist()
    angle_HW = np.arctan2(down_HW, lateral_HW)
    edge_HW = 1.0 + 0.10 * np.cos(3.0 * angle_HW + lobes[0]) + 0.06 * np.cos(5.0 * angle_HW + lobes[1])
    ball_HW = bulge(lateral_HW / edge_HW, down_HW / edge_HW, radius_x=radius, radius_y=radius)
    return 0.95 * chest.lung(direction) * ball_HW


def _pneumothorax(chest: Chest, finding: Finding, direction: int) -> Array:
    """Free air over the apex and along the wall: black, without markings, behind a thin line."""
    depth = (0.10, 0.17, 0.26)[finding.grade]
    # The collapsed lung keeps its outline, lower and away from the wall; what lies between is air.
    lung_border_HW = cage_half_width(chest.y - 1.8 * depth, chest.anatomy) - 0.7 * depth
    outside_HW = direction * chest.x - lung_border_HW
    fade_HW = rise(chest.dome(direction) - 0.10 - chest.y, 0.08)
    change_HW = 0.30 * stroke(outside_HW, 0.018) - 0.24 * rise(outside_HW)
    return chest.lung(direction) * fade_HW * change_HW


def _cardiomegaly(chest: Chest, finding: Finding) -> Array:
    """The difference between a large heart and the patient's healthy one."""
    scale = (1.22, 1.42, 1.65)[finding.grade]
    return heart(chest, scale=scale) - heart(chest, scale=1.0)


def _atelectasis(chest: Chest, finding: Finding, direction: int) -> Array:
    """Plates of airless lung: one, two or three straight bands across the zone."""
    x, y = chest.zone_centre(direction, finding.zone, finding.place)
    half_length = 0.17 + 0.03 * finding.grade
    slope = direction * (0.04 + 0.10 * finding.place[0])
    bands = [
        segment(
            chest.x,
            chest.y,
            (x - half_length, y + offset - slope),
            (x + half_length, y + offset + slope),
            width=0.022,
        )
        for offset in ((0.0,), (-0.055, 0.055), (-0.10, 0.0, 0.10))[finding.grade]
    ]
    return np.asarray(0.60 * chest.lung(direction) * np.maximum.reduce(bands))


def _interstitial_opacities(chest: Chest, finding: Finding, direction: int) -> Array:
    """A net of fine lines over the zone."""
    strength = (0.22, 0.34, 0.48)[finding.grade]
    _, y = chest.zone_centre(direction, finding.zone, (0.5, 0.5))
    zone_HW = np.exp(-(((chest.y - y) / 0.22) ** 4))
    net_HW = np.abs(mottle(chest.x, chest.y, wave_number=38.0, seed=finding.texture_seed))
    return np.asarray(strength * chest.lung(direction) * zone_HW * np.clip(1.3 - 1.4 * net_HW, -0.2, None))


def _rib_fracture(chest: Chest, finding: Finding, direction: int) -> Array:
    """A gap in lateral ribs whose outer ends have slipped down, with bright callus about the break."""
    anatomy = chest.anatomy
    _, y = chest.zone_centre(direction, finding.zone, finding.place)
    lateral_HW = direction * chest.x
    lateral = 0.80 * chest.lateral_border(y)
    first = round(float((y - rib_height(np.asarray(lateral), 0, anatomy)) / RIB_SPACING))
    change_HW = np.zeros_like(chest.x)
    for number in range(first, first + 1 + finding.grade):
        height = float(rib_height(np.asarray(lateral), number, anatomy))
        x_HW, y_HW = turned(lateral_HW - lateral, chest.y - height, 0.5)
        gap_HW = disc(x_HW, y_HW, radius_x=0.022, radius_y=0.05)
        ends_HW = disc(np.abs(x_HW) - 0.065, y_HW - 0.03 * np.sign(x_HW), radius_x=0.042, radius_y=0.036)
        change_HW += 0.75 * ends_HW - anatomy.bone * gap_HW
    return change_HW


def _hiatal_hernia(chest: Chest, finding: Finding) -> Array:
    """A pouch of stomach behind the heart: a wall, air on top, fluid below a level line."""
    radius = (0.11, 0.15, 0.20)[finding.grade]
    x_HW, y_HW = chest.x - 0.08, chest.y - chest.base + 0.02 + 0.8 * radius
    inside_HW = disc(x_HW, y_HW, radius_x=radius, radius_y=0.85 * radius)
    wall_HW = stroke(np.hypot(x_HW, y_HW / 0.85) - radius, EDGE)
    return 0.35 * wall_HW + inside_HW * (0.20 * rise(y_HW, 0.01) - 0.80 * rise(-y_HW, 0.01))


ONE_SIDED_LESIONS: Mapping[str, OneSidedLesion] = {
    "pleural effusion": _pleural_effusion,
    "consolidation": _consolidation,
    "nodule": _nodule,
    "mass": _mass,
    "pneumothorax": _pneumothorax,
    "atelectasis": _atelectasis,
    "interstitial opacities": _interstitial_opacities,
    "rib fracture": _rib_fracture,
}
MIDLINE_LESIONS: Mapping[str, Lesion] = {"cardiomegaly": _cardiomegaly, "hiatal hernia": _hiatal_hernia}
