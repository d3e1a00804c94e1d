"""Terms of the codes, each by hand or by what it is for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.encoders.dual import Embedded
from common.losses.bits import Balance, Decorrelation
from common.losses.distillation import Distillation
from common.losses.margin import START_SCALE, Margin
from common.losses.public import Public

TEMPERATURE = 0.2


def unit(*rows: list[float]) -> Tensor:
    return normalize(torch.tensor(rows), dim=-1)


def public(image: Embedded, report: Embedded, *, progress: float = 1.0) -> Public:
    return Public(image, report, torch.zeros(1, 2), torch.ones(1, 2), progress)


def test_margin_by_hand() -> None:
    """One pair, two anchors: the hardest is the one whose code is nearest, and its report teaches the margin."""
    near, far = [1.0, 0.1], [-1.0, 0.2]
    anchors = public(
        Embedded(unit([1.0, 0.0], [0.0, 1.0]), torch.tensor([near, far])),
        Embedded(unit([1.0, 1.0], [0.0, 1.0]), torch.tensor([near, far])),
        progress=0.5,
    )
    image, report = (
        Embedded(unit([1.0, 0.0]), torch.tensor([[0.9, 0.4]])),
        Embedded(unit([1.0, 0.0]), torch.tensor([[0.5, 0.5]])),
    )

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    margin = (START_SCALE + (1 - START_SCALE) / 2) * (1 - 1 / math.sqrt(2))
    own = cosine([0.9, 0.4], [0.5, 0.5])
    ways = (margin + cosine([0.9, 0.4], near) - own, margin + cosine([0.5, 0.5], near) - own)
    expected = sum(max(way, 0.0) for way in ways) / 2
    assert math.isclose(float(Margin(temperature=TEMPERATURE)(image, report, anchors)), expected, rel_tol=1e-5)


def test_margin_asks_nothing_of_codes_that_are_apart_as_the_reports_are() -> None:
    own = Embedded(unit([1.0, 0.0]), torch.tensor([[1.0, 0.0]]))
    other = Embedded(unit([0.0, 1.0]), torch.tensor([[-1.0, 0.1]]))
    assert float(Margin(temperature=TEMPERATURE)(own, own, public(other, other))) == 0.0


def test_distillation_is_least_where_the_codes_stand_to_the_anchors_as_the_embeddings_do() -> None:
    generator = torch.Generator().manual_seed(0)
    own, anchors = (normalize(torch.randn(size, 6, generator=generator), dim=-1) for size in (5, 9))
    faithful = public(Embedded(anchors, anchors), Embedded(anchors, anchors))
    term = Distillation(temperature=TEMPERATURE)
    same = Embedded(own, own)
    best_B = term(same, same, faithful)
    profile_BA = torch.softmax(own @ anchors.T * 2 / TEMPERATURE, dim=-1)
    torch.testing.assert_close(best_B, -(profile_BA * profile_BA.log()).sum(dim=-1))  # its own entropy
    for seed in range(1, 6):
        turned = own + 0.3 * torch.randn(own.shape, generator=torch.Generator().manual_seed(seed))
        other = Embedded(own, turned)
        assert bool((term(other, other, faithful) > best_B).all())


@pytest.mark.parametrize("term", [Balance, Decorrelation])
def test_mean_over_records_has_the_gradient_of_the_penalty_on_the_anchors(term: type) -> None:
    """Where the records are the anchors, the record's linear or quadratic form and the penalty move a code alike."""
    codes = torch.tanh(torch.randn(12, 4, generator=torch.Generator().manual_seed(1)))

    def penalty(code_AK: Tensor) -> Tensor:
        if term is Balance:
            return code_AK.mean(dim=0).square().mean()
        together_KK = code_AK.T @ code_AK / len(code_AK)
        return (together_KK - torch.diag(together_KK.diagonal())).square().sum() / 4

    embedding = torch.zeros(12, 2)
    fixed = public(Embedded(embedding, codes), Embedded(embedding, codes))
    moving = codes.clone().requires_grad_()
    half = Embedded(embedding, moving)
    found = torch.autograd.grad(term(temperature=TEMPERATURE)(half, half, fixed).mean(), moving)[0]
    again = codes.clone().requires_grad_()
    expected = torch.autograd.grad(penalty(again), again)[0]
    torch.testing.assert_close(found, expected)
