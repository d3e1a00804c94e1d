"""Pictures show what is true of their study, where it is true, well above the scanner's noise."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from simulations.cohorts.findings import DEVICES, FINDINGS, KINDS, SEVERITIES, ZONES, Finding, FindingKind
from simulations.cohorts.render import attenuation
from simulations.cohorts.scanners import SCANNERS, SITE_SCANNERS, add_noise, develop, draw_exposure
from simulations.cohorts.thorax import Pose, draw_anatomy

SIZE = 64
UPRIGHT = Pose(turn=0.0, shift_x=0.0, shift_y=0.0, breath=0.0)
DETECTABLE = 8.0
"""Detectability index of an ideal observer; at 8 it errs once in 30,000 (Barrett and Myers 2004, chapter 13)."""


def present(kind: FindingKind, *, side: str = "right", zone: str = "middle", severity: str = "moderate") -> Finding:
    return Finding(
        name=kind.name,
        side=side if kind.sides else "",
        zone=zone if kind.zones else "",
        severity=severity if kind.graded else "",
        place=(0.5, 0.5),
        texture_seed=7,
    )


def change(finding: Finding, *, scanner: str = "Aldermoor DX-1", seed: int = 0) -> tuple[NDArray[np.float64], float]:
    """What a finding changes in the noise-free picture, and the noise it must stand out from."""
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng, sex="FM"[seed % 2], age=40 + 10 * seed)
    exposure = draw_exposure(SCANNERS[scanner], rng, portable=False)
    without = develop(attenuation(anatomy, UPRIGHT, (), size=SIZE), exposure)
    with_it = develop(attenuation(anatomy, UPRIGHT, (finding,), size=SIZE), exposure)
    return np.asarray(with_it - without, dtype=np.float64), exposure.noise


@pytest.mark.parametrize("scanner", [scanner.name for scanner in SITE_SCANNERS])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_finding_stands_out_from_the_noise_on_every_hospital_scanner(kind: FindingKind, scanner: str) -> None:
    for seed, severity in product(range(3), SEVERITIES if kind.graded else ("",)):
        difference, noise = change(present(kind, severity=severity), scanner=scanner, seed=seed)
        assert np.sqrt(np.square(difference).sum()) / noise > DETECTABLE
        most_changed = np.sort(np.abs(difference).ravel())[-10:]
        assert most_changed.mean() > noise


@pytest.mark.parametrize("kind", [kind for kind in FINDINGS if kind.sides], ids=lambda kind: kind.name)
@pytest.mark.parametrize("side", ["left", "right"])
def test_finding_lies_in_the_lung_of_its_side(kind: FindingKind, side: str) -> None:
    """The patient's right is on the image's left."""
    for zone in ZONES:
        difference = np.abs(change(present(kind, side=side, zone=zone))[0])
        left_half, right_half = difference[:, : SIZE // 2].sum(), difference[:, SIZE // 2 :].sum()
        own, other = (left_half, right_half) if side == "right" else (right_half, left_half)
        assert own > 20 * other


@pytest.mark.parametrize(
    "kind", [kind for kind in FINDINGS if kind.sides and kind.sides[2]], ids=lambda kind: kind.name
)
def test_bilateral_finding_lies_in_both_lungs(kind: FindingKind) -> None:
    difference = np.abs(change(present(kind, side="bilateral"))[0])
    halves = sorted((difference[:, : SIZE // 2].sum(), difference[:, SIZE // 2 :].sum()))
    assert halves[0] > halves[1] / 3


@pytest.mark.parametrize("kind", [kind for kind in FINDINGS if kind.zones], ids=lambda kind: kind.name)
def test_finding_lies_in_its_zone(kind: FindingKind) -> None:
    rows = np.arange(SIZE) + 0.5
    centres = []
    for zone in ZONES:
        weight = np.abs(change(present(kind, zone=zone))[0]).sum(axis=1)
        centres.append(float((rows * weight).sum() / weight.sum()))
    assert np.diff(centres).min() > SIZE / 12


@pytest.mark.parametrize("kind", FINDINGS, ids=lambda kind: kind.name)
def test_finding_grows_with_severity(kind: FindingKind) -> None:
    sizes = [np.abs(change(present(kind, severity=severity))[0]).sum() for severity in SEVERITIES]
    assert sizes[1] > 1.1 * sizes[0]
    assert sizes[2] > 1.1 * sizes[1]


def test_findings_look_unlike_each_other_at_the_same_place() -> None:
    changes = {kind.name: change(present(kind))[0].ravel() for kind in KINDS}
    for one, other in combinations(changes.values(), 2):
        assert abs(one @ other) / np.linalg.norm(one) / np.linalg.norm(other) < 0.9


def test_absent_finding_changes_nothing() -> None:
    """The negative control of the tests above: with no finding the difference is exactly zero."""
    picture = attenuation(draw_anatomy(np.random.default_rng(0), sex="F", age=50), UPRIGHT, (), size=SIZE)
    again = attenuation(draw_anatomy(np.random.default_rng(0), sex="F", age=50), UPRIGHT, (), size=SIZE)
    assert np.array_equal(picture, again)


def test_normal_chest_has_dark_lungs_between_bright_mediastinum_and_abdomen() -> None:
    for seed in range(5):
        anatomy = draw_anatomy(np.random.default_rng(seed), sex="FM"[seed % 2], age=60)
        picture = attenuation(anatomy, UPRIGHT, (), size=SIZE)
        rows, right, left = slice(22, 38), slice(12, 24), slice(44, 52)
        spine, abdomen, air = picture[rows, 30:34].mean(), picture[56:62, 20:44].mean(), picture[0:3, 0:10].mean()
        lungs = (picture[rows, right].mean(), picture[rows, left].mean())
        assert max(lungs) < 0.7 * min(spine, abdomen)
        assert air < 0.3 * min(lungs)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_phantom_is_the_same_body_at_every_size(size: int) -> None:
    anatomy = draw_anatomy(np.random.default_rng(3), sex="M", age=60)
    large = attenuation(anatomy, UPRIGHT, (), size=256)
    factor = 256 // size
    shrunk = large.reshape(size, factor, size, factor).mean(axis=(1, 3))
    assert np.abs(shrunk - attenuation(anatomy, UPRIGHT, (), size=size)).mean() < 0.04


def test_marker_changes_only_a_corner() -> None:
    picture = attenuation(draw_anatomy(np.random.default_rng(0), sex="F", age=50), UPRIGHT, (), size=SIZE)
    scanner = SITE_SCANNERS[0]
    plain, marked = (
        develop(picture, draw_exposure(scanner, np.random.default_rng(1), portable=portable))
        for portable in (False, True)
    )
    changed = np.argwhere(plain != marked)
    assert len(changed) > 5
    assert changed.min(axis=0)[0] >= 50
    assert changed.max(axis=0)[1] < 14


def test_noise_has_the_stated_strength() -> None:
    """Standard deviation at full brightness is the stated one within 5 %; n = 16,384 pixels."""
    exposure = draw_exposure(SITE_SCANNERS[1], np.random.default_rng(0), portable=False)
    grey = np.full((128, 128), 128.0, dtype=np.float32)
    image = add_noise(grey, exposure, np.random.default_rng(1))
    expected = exposure.noise * (0.4 + 0.6 * 128.0 / 255.0)
    assert image.dtype == np.uint8
    assert abs(image.astype(float).std() / expected - 1.0) < 0.05


def test_every_kind_is_drawn_somewhere() -> None:
    """A kind without a shape would raise; a kind that is drawn as nothing would be invisible at every size."""
    for kind in FINDINGS + DEVICES:
        assert np.abs(change(present(kind, severity="large"))[0]).max() > 20
