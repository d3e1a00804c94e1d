"""The score level: against plain loops, per record, and only where something lacks."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.encoders.dual import Embedded
from common.losses.public import Public
from common.losses.score_level import ScoreLevel

TEMPERATURE = 0.2


def term(image: Tensor, report: Tensor, anchor_image: Tensor, anchor_report: Tensor) -> Tensor:
    """The term, with codes that it does not read."""
    halves = [Embedded(part, torch.zeros(0)) for part in (image, report, anchor_image, anchor_report)]
    public = Public(halves[2], halves[3], torch.zeros(0), torch.zeros(0))
    return ScoreLevel(temperature=TEMPERATURE)(halves[0], halves[1], public)


def units(number: int, seed: int) -> Tensor:
    return normalize(torch.randn(number, 5, generator=torch.Generator().manual_seed(seed)).double(), dim=-1)


def dot(one: Tensor, other: Tensor) -> float:
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True)) / TEMPERATURE


def level(image: Tensor, report: Tensor, images: list[Tensor], reports: list[Tensor]) -> float:
    to_reports = math.log(sum(math.exp(dot(image, other)) for other in reports))
    to_images = math.log(sum(math.exp(dot(report, other)) for other in images))
    return dot(image, report) - (to_reports + to_images) / 2


def test_value_equals_plain_loops() -> None:
    image, report, anchor_image, anchor_report = units(6, 0), units(6, 1), units(4, 2), units(4, 3)
    images, reports = list(anchor_image), list(anchor_report)
    public = [
        level(images[k], reports[k], images[:k] + images[k + 1 :], reports[:k] + reports[k + 1 :]) for k in range(4)
    ]
    found = term(image, report, anchor_image, anchor_report).tolist()
    for row in range(6):
        lacks = max(sum(public) / 4 - level(image[row], report[row], images, reports), 0.0)
        assert math.isclose(found[row], lacks**2, rel_tol=1e-9, abs_tol=1e-12)
    assert any(found)
    assert not all(found)


def test_another_record_leaves_the_value_bit_for_bit() -> None:
    anchors = units(4, 2), units(4, 3)
    image, report = units(3, 0), units(3, 1)
    before = term(image, report, *anchors)
    image[1:], report[1:] = units(2, 8), units(2, 9)
    assert torch.equal(term(image, report, *anchors)[0], before[0])


def test_a_pair_above_the_public_level_is_not_pulled_down() -> None:
    report = units(3, 1)
    image = report.clone().requires_grad_()
    value = term(image, report, units(4, 2), units(4, 3))
    (gradient,) = torch.autograd.grad(value.sum(), [image])
    assert value.tolist() == [0.0, 0.0, 0.0]
    assert not gradient.any()


def test_a_single_anchor_asks_for_nothing() -> None:
    value = term(units(3, 0), units(3, 1), units(1, 2), units(1, 3))
    assert value.tolist() == [0.0, 0.0, 0.0]
