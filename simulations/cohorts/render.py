"""From a study's truth to its pictures: the chest, what is in it, the scanner."""

from __future__ import annotations

import numpy as np

from common.seeds import numpy_generator
from common.types import Image
from simulations.cohorts.devices import draw_device
from simulations.cohorts.findings import DEVICE_NAMES, Finding
from simulations.cohorts.lesions import draw_finding
from simulations.cohorts.patients import PhantomStudy
from simulations.cohorts.scanners import add_noise, develop
from simulations.cohorts.shapes import Array
from simulations.cohorts.thorax import Anatomy, Pose, normal_chest, stand


def attenuation(anatomy: Anatomy, pose: Pose, findings: tuple[Finding, ...], *, size: int) -> Array:
    """Attenuation `[size, size]` of a patient with findings and devices."""
    chest = stand(anatomy, pose, size)
    total_HW = normal_chest(chest)
    for finding in findings:
        draw = draw_device if finding.name in DEVICE_NAMES else draw_finding
        total_HW = total_HW + draw(chest, finding)
    return np.clip(total_HW, 0.0, None)


def render_views(study: PhantomStudy, *, size: int, seed: int) -> list[Image]:
    """The grey images `[size, size]` of a study's views, in order."""
    images = []
    for position, view in enumerate(study.views):
        attenuation_HW = attenuation(study.patient.anatomy, view.pose, study.findings, size=size)
        rng = numpy_generator(seed, "noise", study.view_id(position))
        images.append(add_noise(develop(attenuation_HW, view.exposure), view.exposure, rng))
    return images
