"""Devices in and on the patient: metal and plastic, brighter than anything the body is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from simulations.cohorts.findings import Finding
from simulations.cohorts.shapes import Array, disc, polyline, rise, segment
from simulations.cohorts.thorax import Chest

LINE_WIDTH = 0.016


def draw_device(chest: Chest, device: Finding) -> Array:
    """Attenuation `[H, W]` of one device."""
    return DEVICE_SHAPES[device.name](chest, device)


def _pacemaker(chest: Chest, device: Finding) -> Array:
    """A can below the clavicle and a lead through the great veins to the heart's apex."""
    (direction,) = device.directions
    x, y = direction * 0.50, -0.36 + 0.06 * device.place[1]
    can_HW = disc(chest.x - x, chest.y - y, radius_x=0.13, radius_y=0.11)
    path = [
        (x, y - 0.08),
        (direction * 0.22, -0.56),
        (-0.10, -0.38),
        (-0.09, 0.02),
        (0.22, chest.base - 0.12),
    ]
    lead_HW = polyline(chest.x, chest.y, path, width=LINE_WIDTH)
    return np.asarray(np.maximum(1.9 * can_HW, 1.1 * lead_HW))


def _central_line(chest: Chest, device: Finding) -> Array:
    """A catheter from the neck of one side into the superior vena cava."""
    (direction,) = device.directions
    tip = -0.02 + 0.10 * device.place[1]
    path = [(direction * 0.30, -1.05), (direction * 0.20, -0.66), (-0.11, -0.36), (-0.11, tip)]
    return 0.85 * polyline(chest.x, chest.y, path, width=LINE_WIDTH)


def _endotracheal_tube(chest: Chest, device: Finding) -> Array:
    """Two walls and a stripe of contrast in the trachea, from the mouth to above the carina."""
    tip = -0.34 + 0.10 * device.place[1]
    bore_HW = rise(0.035 - np.abs(chest.x), 0.008) * rise(tip - chest.y, 0.01)
    stripe_HW = segment(chest.x, chest.y, (0.032, -1.2), (0.032, tip), width=LINE_WIDTH)
    return 0.25 * bore_HW + 0.90 * stripe_HW


DEVICE_SHAPES: Mapping[str, Callable[[Chest, Finding], Array]] = {
    "pacemaker": _pacemaker,
    "central line": _central_line,
    "endotracheal tube": _endotracheal_tube,
}
