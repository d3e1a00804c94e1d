"""Terms beside the contrast, each by hand or by what it is for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from common.encoders.dual import Embedded
from common.errors import ConfigError
from common.losses.bits import Balance, Decorrelation
from common.losses.distillation import Distillation
from common.losses.invariance import Invariance
from common.losses.margin import START_SCALE, Margin
from common.losses.public import Public
from common.losses.unpaired import Unpaired

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


def test_invariance_by_hand() -> None:
    """One study whose view is turned by a right angle, one whose view is itself, and one that has no image."""
    embedding, code = unit([1.0, 0.0], [0.0, 1.0], [1.0, 0.0]), torch.tensor([[0.5, 0.5], [0.1, -0.9], [1.0, 0.0]])
    view = Embedded(unit([0.0, 1.0], [0.0, 1.0], [0.0, 1.0]), torch.tensor([[-0.5, -0.5], [0.1, -0.9], [0.0, 1.0]]))
    image = Embedded(embedding, code, present=torch.tensor([True, True, False]), view=view)
    found = Invariance(temperature=TEMPERATURE)(image, image, public(image, image))
    torch.testing.assert_close(found, torch.tensor([1.0 + 2.0, 0.0, 0.0]))


def test_invariance_draws_the_view_to_the_image_and_not_the_image_to_the_view() -> None:
    parts = [torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)).requires_grad_() for seed in range(4)]
    image = Embedded(parts[0], parts[1], view=Embedded(parts[2], parts[3]))
    value = Invariance(temperature=TEMPERATURE)(image, image, public(image, image)).sum()
    moved = torch.autograd.grad(value, parts, allow_unused=True)
    assert [gradient is not None for gradient in moved] == [False, False, True, True]


def test_invariance_without_views_is_refused() -> None:
    image = Embedded(unit([1.0, 0.0]), torch.ones(1, 2))
    with pytest.raises(ConfigError, match=r"loss\.name: invariance compares views"):
        Invariance(temperature=TEMPERATURE)(image, image, public(image, image))


def test_unpaired_by_hand() -> None:
    """A pair, a lone image and a lone report, two anchors; every softmax written out."""
    rows = unit([1.0, 0.2], [0.3, 1.0], [-1.0, 0.5])
    codes = torch.tensor([[0.9, 0.1], [0.2, -0.7], [0.6, 0.6]])
    image = Embedded(rows, codes, present=torch.tensor([True, True, False]))
    report = Embedded(rows.flip(1), codes.flip(1), present=torch.tensor([True, False, True]))
    anchors = public(
        Embedded(unit([1.0, 0.0], [0.0, 1.0]), torch.tensor([[1.0, 0.1], [-1.0, 0.2]])),
        Embedded(unit([0.8, 0.6], [-0.6, 0.8]), torch.tensor([[0.5, 0.5], [0.1, -1.0]])),
    )

    def profile(own: Tensor, others: Tensor, sharpness: float) -> list[float]:
        powers = [math.exp(sharpness * float(own @ other / own.norm() / other.norm())) for other in others]
        return [power / sum(powers) for power in powers]

    def value(own: Embedded, row: int, same: Embedded, other: Embedded) -> float:
        cross = 0.0
        teacher = profile(own.embedding[row], same.embedding, 2 / TEMPERATURE)
        student = profile(own.embedding[row], other.embedding, 1 / TEMPERATURE)
        of_embedding = profile(own.embedding[row], other.embedding, 2 / TEMPERATURE)
        of_code = profile(own.code[row], other.code, 2 / TEMPERATURE)
        for at in range(2):
            cross -= teacher[at] * math.log(student[at]) + of_embedding[at] * math.log(of_code[at])
        return cross

    found = Unpaired(temperature=TEMPERATURE)(image, report, anchors)
    expected = [0.0, value(image, 1, anchors.image, anchors.report), value(report, 2, anchors.report, anchors.image)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_unpaired_does_not_read_what_stands_for_the_absent_half() -> None:
    generator = torch.Generator().manual_seed(3)
    halves = [[normalize(torch.randn(4, 5, generator=generator), dim=-1) for _ in range(2)] for _ in range(3)]
    anchors = public(Embedded(*halves[1]), Embedded(*halves[2]))
    there, absent = torch.ones(4).bool(), torch.zeros(4).bool()
    term = Unpaired(temperature=TEMPERATURE)
    values = [
        term(Embedded(*halves[0], present=there), Embedded(filler, filler, present=absent), anchors)
        for filler in halves[1]
    ]
    assert torch.equal(*values)
    assert bool((values[0] > 0).all())
