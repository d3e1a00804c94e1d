"""What can be found in a patient: ten findings and three devices, with where they lie and whom they meet.

Prevalences are those of a hospital's inpatients made denser, so that a study shows two to three things on
average and a report tells its study from a few hundred others; directions (heart failure with age, fractures
in men, hernia in older women) follow clinical experience, sizes are invented.
"""

from __future__ import annotations

from dataclasses import dataclass

LEFT, RIGHT, BILATERAL = "left", "right", "bilateral"
SIDES = (LEFT, RIGHT, BILATERAL)
ZONES = ("upper", "middle", "lower")
CHRONIC, ACUTE = "chronic", "acute"
SEVERITIES = ("small", "moderate", "large")
NOT_APPLICABLE = ""
"""Side or zone of what lies in the midline or has one place only; severity of a device."""


@dataclass(frozen=True)
class FindingKind:
    """A finding or a device, and whom it meets.

    Attributes:
        name: As in the manifest's `findings`, the truth and the grammar.
        prevalence: In women of 60 at a hospital without shift.
        age_slope: Log-odds a decade.
        male: Log-odds of men against women.
        course: `CHRONIC` stays from study to study, `ACUTE` comes and goes.
        sides: Probabilities of left, right and bilateral; empty where side does not apply.
        zones: Probabilities of upper, middle and lower; empty where zone does not apply.
        graded: Whether it has a severity.
    """

    name: str
    prevalence: float
    age_slope: float
    male: float
    course: str
    sides: tuple[float, float, float] | tuple[()]
    zones: tuple[float, float, float] | tuple[()]
    graded: bool = True


@dataclass(frozen=True)
class Finding:
    """One finding or device in one study.

    Attributes:
        name: Name of its kind.
        side: One of `SIDES`, or `NOT_APPLICABLE`.
        zone: One of `ZONES`, or `NOT_APPLICABLE`.
        severity: One of `SEVERITIES`, or `NOT_APPLICABLE`.
        place: Where it lies within its zone, two fractions: medial to lateral, top to bottom.
        texture_seed: Seed of its fine structure, the same in all studies of the patient.
    """

    name: str
    side: str
    zone: str
    severity: str
    place: tuple[float, float]
    texture_seed: int

    @property
    def grade(self) -> int:
        """0 small, 1 moderate, 2 large; 1 where severity does not apply."""
        return SEVERITIES.index(self.severity) if self.severity else 1

    @property
    def directions(self) -> tuple[int, ...]:
        """Signs of x for the sides: -1 the patient's right, which an image shows on its left; +1 the left."""
        return {RIGHT: (-1,), LEFT: (1,), BILATERAL: (-1, 1)}.get(self.side, ())


EITHER_SIDE = (0.5, 0.5, 0.0)
ANY_ZONE = (0.34, 0.33, 0.33)

FINDINGS = (
    FindingKind("pleural effusion", 0.28, 0.20, 0.0, ACUTE, (0.35, 0.40, 0.25), ()),
    FindingKind("consolidation", 0.25, 0.05, 0.1, ACUTE, (0.42, 0.42, 0.16), (0.25, 0.30, 0.45)),
    FindingKind("nodule", 0.22, 0.15, 0.1, CHRONIC, EITHER_SIDE, ANY_ZONE),
    FindingKind("mass", 0.11, 0.20, 0.3, CHRONIC, EITHER_SIDE, (0.45, 0.30, 0.25)),
    FindingKind("pneumothorax", 0.11, -0.25, 0.6, ACUTE, EITHER_SIDE, ()),
    FindingKind("cardiomegaly", 0.26, 0.30, -0.1, CHRONIC, (), ()),
    FindingKind("atelectasis", 0.22, 0.10, 0.0, ACUTE, (0.40, 0.40, 0.20), (0.15, 0.30, 0.55)),
    FindingKind("interstitial opacities", 0.18, 0.20, 0.0, CHRONIC, (0.15, 0.15, 0.70), ANY_ZONE),
    FindingKind("rib fracture", 0.11, 0.05, 0.5, ACUTE, EITHER_SIDE, ANY_ZONE),
    FindingKind("hiatal hernia", 0.14, 0.40, -0.5, CHRONIC, (), ()),
)
"""The ten findings, in the order of the truth's columns."""

DEVICES = (
    FindingKind("pacemaker", 0.10, 0.50, 0.3, CHRONIC, (0.85, 0.15, 0.0), (), graded=False),
    FindingKind("central line", 0.18, 0.00, 0.0, ACUTE, (0.35, 0.65, 0.0), (), graded=False),
    FindingKind("endotracheal tube", 0.09, 0.00, 0.1, ACUTE, (), (), graded=False),
)
"""The three devices."""

KINDS = FINDINGS + DEVICES
FINDING_NAMES = tuple(kind.name for kind in FINDINGS)
DEVICE_NAMES = tuple(kind.name for kind in DEVICES)
