"""The normal chest: outline, lungs, mediastinum, heart, ribs, spine, diaphragm, as attenuation of the beam.

A frontal view: the patient's right is on the image's left. Lengths are in half-widths of the image;
attenuation is a line integral, so shapes add. Shape legend: H height, W width in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulations.cohorts.shapes import Array, bulge, disc, rise, segment, stroke, turned

HEART_TILT = 0.55
RIB_SPACING = 0.145
NUM_RIBS = 9
LIVER_HEIGHT = 0.05
"""By how much the liver holds the right dome above the left one."""


@dataclass(frozen=True)
class Anatomy:
    """How one patient is built.

    Attributes:
        half_width: From the midline to the lateral lung border at its widest.
        apex: y of the lung tops.
        base: y of the diaphragm's domes.
        heart: Scale of the heart.
        habitus: 0 lean to 1 heavy; heavy patients are whiter and lose contrast.
        breast: Attenuation of the breast shadows.
        bone: Attenuation of a rib; falls with age.
        aorta: Size of the aortic knob; grows with age.
        vessel_phase: Turns the vascular pattern, radians.
    """

    half_width: float
    apex: float
    base: float
    heart: float
    habitus: float
    breast: float
    bone: float
    aorta: float
    vessel_phase: float


@dataclass(frozen=True)
class Pose:
    """How the patient stood: a turn in radians, a shift and a breath that lowers the diaphragm."""

    turn: float
    shift_x: float
    shift_y: float
    breath: float


def draw_anatomy(rng: np.random.Generator, *, sex: str, age: int) -> Anatomy:
    """A patient's build: men wider, women with breast shadows, the old with thin bone and a wide aorta."""
    male = sex == "M"
    years_past_40 = max(age - 40, 0)
    habitus = float(rng.beta(2.0, 2.5))
    return Anatomy(
        half_width=float(np.clip(rng.normal(0.76 if male else 0.70, 0.025), 0.62, 0.83)),
        apex=float(np.clip(rng.normal(-0.74, 0.025), -0.80, -0.67)),
        base=float(np.clip(rng.normal(0.50 if male else 0.46, 0.035) - 0.08 * habitus, 0.32, 0.58)),
        heart=float(np.clip(rng.normal(0.93 + 0.0015 * years_past_40, 0.035), 0.82, 1.06)),
        habitus=habitus,
        breast=0.0 if male else float(rng.uniform(0.10, 0.22) + 0.12 * habitus),
        bone=0.30 - 0.002 * years_past_40 + 0.04 * male,
        aorta=0.05 + 0.0012 * years_past_40,
        vessel_phase=float(rng.uniform(0.0, 2.0 * np.pi)),
    )


def draw_pose(rng: np.random.Generator) -> Pose:
    """A pose within what a careful radiographer accepts."""
    return Pose(
        turn=float(np.clip(rng.normal(0.0, 0.03), -0.08, 0.08)),
        shift_x=float(np.clip(rng.normal(0.0, 0.02), -0.06, 0.06)),
        shift_y=float(np.clip(rng.normal(0.0, 0.02), -0.06, 0.06)),
        breath=float(np.clip(rng.normal(0.0, 0.02), -0.05, 0.05)),
    )


@dataclass(frozen=True)
class Chest:
    """Where everything is in one image; the findings ask it for places.

    Attributes:
        x: `[H, W]`, from the patient's right to left.
        y: `[H, W]`, downwards.
        anatomy: The patient's build.
        base: y of the left diaphragm's dome in this breath.
        cage: `[H, W]`, distance of the lateral lung border from the midline at each point's height.
        right_lung: `[H, W]`, 1 in the lung.
        left_lung: `[H, W]`.
    """

    x: Array
    y: Array
    anatomy: Anatomy
    base: float
    cage: Array
    right_lung: Array
    left_lung: Array

    def lung(self, direction: int) -> Array:
        """The lung of a side: -1 the right, +1 the left."""
        return self.left_lung if direction > 0 else self.right_lung

    def dome(self, direction: int) -> float:
        """The y of a side's diaphragm; the liver holds the right one up."""
        return self.base if direction > 0 else self.base - LIVER_HEIGHT

    def lateral_border(self, y: float) -> float:
        """Distance of the lateral lung border from the midline at one height."""
        return float(cage_half_width(np.asarray(y), self.anatomy))

    def zone_centre(self, direction: int, zone: str, place: tuple[float, float]) -> tuple[float, float]:
        """A point in a lung's upper, middle or lower third; `place` says where within the third."""
        top, bottom = self.anatomy.apex, self.dome(direction)
        third = {"upper": 0.26, "middle": 0.54, "lower": 0.82}[zone]
        y = top + (bottom - top) * (third + 0.10 * (place[1] - 0.5))
        across = 0.42 + 0.26 * place[0]
        return direction * across * self.lateral_border(y), y


def stand(anatomy: Anatomy, pose: Pose, size: int) -> Chest:
    """The grid of an image in the patient's own coordinates, and the lungs on it."""
    pixel = (np.arange(size, dtype=np.float32) + 0.5) / size * 2.0 - 1.0
    x_HW, y_HW = turned(pixel[None, :] - pose.shift_x, pixel[:, None] - pose.shift_y, pose.turn)
    base = anatomy.base + pose.breath
    cage_HW = cage_half_width(y_HW, anatomy)
    return Chest(
        x=x_HW,
        y=y_HW,
        anatomy=anatomy,
        base=base,
        cage=cage_HW,
        right_lung=_lung(-x_HW, y_HW, cage_HW, half_width=anatomy.half_width, dome=base - LIVER_HEIGHT),
        left_lung=_lung(x_HW, y_HW, cage_HW, half_width=anatomy.half_width, dome=base),
    )


def normal_chest(chest: Chest) -> Array:
    """Attenuation `[H, W]` of the patient without findings or devices."""
    anatomy = chest.anatomy
    x_HW, y_HW = chest.x, chest.y
    lungs_HW = chest.right_lung + chest.left_lung
    tissue_HW = _torso(chest) * (0.85 + 0.35 * anatomy.habitus) * (1.0 - 0.30 * x_HW**2)
    below_HW = rise(y_HW - chest.base + 0.02, 0.04)
    attenuation_HW = tissue_HW * (1.0 - 0.72 * lungs_HW + 0.30 * below_HW * (1.0 - lungs_HW))
    attenuation_HW += heart(chest, scale=1.0) + _mediastinum(chest) + _vessels(chest) * lungs_HW
    attenuation_HW += _bones(chest)
    breast_HW = disc(np.abs(x_HW) - 0.42, y_HW - 0.30, radius_x=0.30, radius_y=0.26, edge=0.03)
    stomach_HW = disc(x_HW - 0.36, y_HW - chest.base - 0.13, radius_x=0.13, radius_y=0.07)
    attenuation_HW += anatomy.breast * breast_HW - 0.30 * stomach_HW
    return np.clip(attenuation_HW, 0.0, None)


def heart(chest: Chest, *, scale: float) -> Array:
    """Attenuation of the heart, its apex to the patient's left; `scale` 1 is the healthy heart."""
    size = scale * chest.anatomy.heart
    x_HW, y_HW = turned(chest.x - 0.04 - 0.06 * size, chest.y - chest.base + 0.20, HEART_TILT)
    on_diaphragm_HW = rise(chest.base + 0.10 - chest.y, 0.03)
    return 0.62 * on_diaphragm_HW * disc(x_HW, y_HW, radius_x=0.34 * size, radius_y=0.25 * size, edge=0.025)


def rib_height(lateral_HW: Array, number: int, anatomy: Anatomy) -> Array:
    """The y of a posterior rib at a distance from the midline; it rises from the spine, then falls."""
    part_HW = np.clip(lateral_HW / anatomy.half_width, 0.0, 1.2)
    return np.asarray(anatomy.apex + 0.04 + RIB_SPACING * number - 0.10 * part_HW + 0.34 * part_HW**3)


def cage_half_width(y: Array, anatomy: Anatomy) -> Array:
    """Half width of the rib cage at a height: narrow at the apex, widest above the diaphragm."""
    depth = np.clip((y - anatomy.apex) / 1.25, 0.0, 1.0)
    return np.asarray(anatomy.half_width * (1.0 - (1.0 - depth) ** 3.2) ** 0.62)


def _lung(lateral_HW: Array, y_HW: Array, cage_HW: Array, *, half_width: float, dome: float) -> Array:
    """One lung: within the cage, beside the mediastinum, above its dome, with a sharp costophrenic angle."""
    medial_HW = 0.10 + 0.05 * np.exp(-(((y_HW + 0.02) / 0.25) ** 2))
    floor_HW = dome + 0.55 * (np.clip(lateral_HW, 0.0, None) - 0.45 * half_width) ** 2
    floor_HW += 0.9 * np.clip(lateral_HW - 0.75 * half_width, 0.0, None)
    return rise(cage_HW - lateral_HW) * rise(lateral_HW - medial_HW) * rise(floor_HW - y_HW)


def _torso(chest: Chest) -> Array:
    """1 in the body: neck, sloping shoulders, flanks that a heavy patient pushes out of the picture."""
    flank = chest.anatomy.half_width + 0.10 + 0.16 * chest.anatomy.habitus
    shoulder_HW = 0.20 + 0.02 * chest.anatomy.habitus + (flank - 0.12) * rise(chest.y + 0.80, 0.035)
    return rise(shoulder_HW - np.abs(chest.x), 0.015)


def _mediastinum(chest: Chest) -> Array:
    """Vessels and trachea in the midline, aortic knob on the patient's left, hila on both sides."""
    x_HW, y_HW, anatomy = chest.x, chest.y, chest.anatomy
    band_HW = rise(0.14 + 0.10 * rise(y_HW - 0.05, 0.1) - np.abs(x_HW - 0.01), 0.025)
    above_HW = rise(chest.base - y_HW, 0.04)
    trachea_HW = stroke(x_HW, 0.035) * rise(-0.15 - y_HW, 0.03)
    knob_HW = disc(x_HW - 0.13, y_HW + 0.32, radius_x=anatomy.aorta + 0.02, radius_y=anatomy.aorta + 0.03)
    hila_HW = bulge(np.abs(x_HW) - 0.20, y_HW + 0.06, radius_x=0.10, radius_y=0.13)
    return np.asarray(0.30 * band_HW * above_HW - 0.26 * trachea_HW + 0.30 * knob_HW + 0.16 * hila_HW)


def _vessels(chest: Chest) -> Array:
    """Lung markings: branches that leave the hila and fade towards the periphery."""
    lateral_HW, down_HW = np.abs(chest.x) - 0.14, chest.y + 0.05
    distance_HW = np.hypot(lateral_HW, down_HW)
    angle_HW = np.arctan2(down_HW, lateral_HW + 1e-9)
    branches_HW = np.cos(7.0 * angle_HW + 4.0 * distance_HW + chest.anatomy.vessel_phase)
    return np.asarray(0.14 * np.square(np.square(branches_HW)) * np.exp(-distance_HW / 0.40))


def _bones(chest: Chest) -> Array:
    """Posterior and fainter anterior ribs, clavicles, spine."""
    lateral_HW, y_HW, anatomy = np.abs(chest.x), chest.y, chest.anatomy
    inside_HW = rise(chest.cage + 0.03 - lateral_HW) * rise(lateral_HW - 0.08)
    inside_HW *= rise(chest.base + 0.16 - y_HW, 0.05)
    number_HW = (y_HW - rib_height(lateral_HW, 0, anatomy)) / RIB_SPACING
    posterior_HW = _comb(number_HW, width=0.024 / RIB_SPACING)
    anterior_HW = _comb(number_HW + 3.2 * lateral_HW / anatomy.half_width + 0.5, width=0.03 / RIB_SPACING)
    anterior_HW *= rise(lateral_HW - 0.38 * anatomy.half_width, 0.03)
    bones_HW = anatomy.bone * (posterior_HW + 0.40 * anterior_HW) * inside_HW
    clavicle_y = anatomy.apex + 0.16
    clavicles_HW = segment(lateral_HW, y_HW, (0.09, clavicle_y), (0.66, clavicle_y - 0.14), width=0.024)
    spine_HW = disc(chest.x, y_HW, radius_x=0.085, radius_y=9.0, edge=0.015)
    discs_HW = 0.22 + 0.05 * np.cos(2.0 * np.pi * y_HW / 0.12)
    return np.asarray(bones_HW + 1.2 * anatomy.bone * clavicles_HW + anatomy.bone / 0.3 * discs_HW * spine_HW)


def _comb(number_HW: Array, *, width: float) -> Array:
    """A line at each whole number from 0 to `NUM_RIBS` - 1."""
    nearest_HW = np.clip(np.rint(number_HW), 0, NUM_RIBS - 1)
    return stroke(number_HW - nearest_HW, width)
