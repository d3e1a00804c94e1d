"""Anchor contrast against a loop of `math`, and the property that makes it fit for privacy."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from common.losses.anchor_contrast import TEACHER_SHARPNESS, AnchorContrast
from common.losses.in_batch import InBatchContrast
from common.losses.interface import Coupling

TEMPERATURE = 0.2
ANCHOR_CONTRAST = AnchorContrast(temperature=TEMPERATURE, agreement_weight=0.5)
IN_BATCH = InBatchContrast(temperature=TEMPERATURE)


def unit(number: int, seed: int) -> Tensor:
    return normalize(torch.randn(number, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)), dim=-1)


def dot(first: Tensor, second: Tensor) -> float:
    return math.fsum(x * y for x, y in zip(first.tolist(), second.tolist(), strict=True))


def one_way(own: float, others: list[float]) -> float:
    return -math.log(profile([own, *others], TEMPERATURE)[0])


def profile(similarities: list[float], temperature: float) -> list[float]:
    weights = [math.exp(similarity / temperature) for similarity in similarities]
    return [weight / math.fsum(weights) for weight in weights]


def cross_entropy(teacher: list[float], student: list[float]) -> float:
    teacher_profile = profile(teacher, TEMPERATURE / TEACHER_SHARPNESS)
    return -math.fsum(p * math.log(q) for p, q in zip(teacher_profile, profile(student, TEMPERATURE), strict=True))


def values(loss: AnchorContrast | InBatchContrast, image: Tensor, report: Tensor) -> Tensor:
    return loss(image, report, unit(7, 100), unit(7, 101))


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_anchor_contrast_equals_loop(weight: float) -> None:
    image, report, anchor_image, anchor_report = unit(5, 0), unit(5, 1), unit(7, 2), unit(7, 3)
    loss = AnchorContrast(temperature=TEMPERATURE, agreement_weight=weight)
    for row, value in enumerate(loss(image, report, anchor_image, anchor_report).tolist()):
        own = dot(image[row], report[row])
        image_to_reports = [dot(image[row], anchor) for anchor in anchor_report]
        report_to_images = [dot(report[row], anchor) for anchor in anchor_image]
        contrast = one_way(own, image_to_reports) + one_way(own, report_to_images)
        agreement = cross_entropy([dot(report[row], anchor) for anchor in anchor_report], image_to_reports)
        agreement += cross_entropy([dot(image[row], anchor) for anchor in anchor_image], report_to_images)
        assert math.isclose(value, (contrast + weight * agreement) / 2, rel_tol=1e-12)


def test_agreement_teaches_no_teacher() -> None:
    """Towards the anchors' reports the report leads and the image follows: no gradient reaches the report there."""
    image, report = unit(3, 0).requires_grad_(), unit(3, 1).requires_grad_()
    blind = torch.zeros(7, 4, dtype=torch.float64)  # anchors' images without direction: that way says nothing
    with_agreement = ANCHOR_CONTRAST(image, report, blind, unit(7, 3)).sum()
    without = AnchorContrast(temperature=TEMPERATURE, agreement_weight=0.0)(image, report, blind, unit(7, 3)).sum()
    of_image, of_report = torch.autograd.grad(with_agreement - without, (image, report))
    assert of_image.abs().max() > 1e-3
    assert of_report.abs().max() < 1e-12


def test_in_batch_equals_loop() -> None:
    image, report = unit(5, 0), unit(5, 1)
    found = values(IN_BATCH, image, report)
    for row, value in enumerate(found.tolist()):
        own = dot(image[row], report[row])
        others = [n for n in range(5) if n != row]
        to_report = one_way(own, [dot(image[row], report[n]) for n in others])
        to_image = one_way(own, [dot(image[n], report[row]) for n in others])
        assert math.isclose(value, (to_report + to_image) / 2, rel_tol=1e-12)


def changed_by_another(loss: AnchorContrast | InBatchContrast, *, row: int, other: int, seed: int) -> float:
    """How far the value and the gradient of one record move when another record is replaced."""
    image, report = unit(6, seed).requires_grad_(), unit(6, seed + 1)
    (gradient,) = torch.autograd.grad(values(loss, image, report)[row], image)
    after_image = image.detach().clone()
    after_image[other], report_after = unit(1, seed + 2)[0], report.clone()
    report_after[other] = unit(1, seed + 3)[0]
    after_image.requires_grad_()
    after = values(loss, after_image, report_after)[row]
    (gradient_after,) = torch.autograd.grad(after, after_image)
    moved = (gradient[row] - gradient_after[row]).abs().max()
    return max(float((values(loss, image, report)[row] - after).detach().abs()), float(moved))


@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, 5), step=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_anchor_contrast_of_a_record_does_not_read_another(row: int, step: int, seed: int) -> None:
    assert changed_by_another(ANCHOR_CONTRAST, row=row, other=(row + step) % 6, seed=seed) < 1e-12
    assert ANCHOR_CONTRAST.coupling is Coupling.NONE


def test_in_batch_of_a_record_reads_the_others() -> None:
    """The control: the same probe sees the coupling, and the loss says so."""
    assert changed_by_another(IN_BATCH, row=0, other=1, seed=0) > 1e-3
    assert IN_BATCH.coupling is Coupling.BATCH


@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_anchor_contrast_stays_finite(temperature: float) -> None:
    image = unit(3, 0).float().requires_grad_()
    loss = AnchorContrast(temperature=temperature, agreement_weight=1.0)
    value = loss(image, -image, image.detach(), unit(3, 1).float()).sum()
    value.backward()
    assert value.isfinite()
    assert image.grad is not None
    assert image.grad.isfinite().all()
