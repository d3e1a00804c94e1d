"""ARC and clipping by hand: whose length changes, to what, and that directions stay.

Shapes: S sites, P values.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from strategies.cohort import Cohort
from strategies.interface import STAGES

DIRECTIONS_SP = torch.nn.functional.normalize(torch.randn(10, 6, generator=torch.Generator().manual_seed(0)), dim=1)


def _lengths(stage: str, lengths_S: Tensor, num_byzantine: int) -> list[float]:
    updates_SP = DIRECTIONS_SP[: len(lengths_S)] * lengths_S[:, None]
    cohort = Cohort.of(updates_SP, torch.ones(len(updates_SP)), num_byzantine=num_byzantine)
    mixing_SS = STAGES.load(stage)().mixing(cohort.points, num_byzantine, seed=0)
    assert torch.equal(mixing_SS, mixing_SS.diag().diag())
    return (mixing_SS.diag() * lengths_S).tolist()


@pytest.mark.parametrize(("num_byzantine", "num_clipped"), [(0, 0), (1, 1), (2, 3), (3, 4), (4, 4)])
def test_arc_clips_as_many_as_the_paper_says(num_byzantine: int, num_clipped: int) -> None:
    """floor(2 f / 10 * (10 - f)): 0, 1.8, 3.2, 4.2, 4.8."""
    lengths_S = torch.arange(1.0, 11.0)
    kept = 10.0 - num_clipped
    expected = [min(float(length), kept) for length in lengths_S]
    assert _lengths("arc", lengths_S, num_byzantine) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("num_sites", "num_byzantine", "exact"), [(5, 1, 1), (8, 2, 3), (6, 2, 2), (9, 3, 4), (4, 1, 1)]
)
def test_arc_rounds_down_where_the_quotient_is_whole_or_not(num_sites: int, num_byzantine: int, exact: int) -> None:
    """2 f (S - f) / S in whole numbers, where a float quotient could fall just below."""
    lengths = _lengths("arc", torch.arange(1.0, num_sites + 1), num_byzantine)
    assert max(lengths) == pytest.approx(num_sites - exact, rel=1e-5)


@pytest.mark.parametrize(("lengths", "middle"), [([1.0, 2.0, 3.0], 2.0), ([4.0, 1.0, 2.0, 3.0], 2.5), ([7.0], 7.0)])
def test_clipping_is_to_the_median_length(lengths: list[float], middle: float) -> None:
    expected = [min(length, middle) for length in lengths]
    assert _lengths("clipping", torch.tensor(lengths), 0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stage", ["arc", "clipping"])
def test_updates_of_no_length_stay(stage: str) -> None:
    assert _lengths(stage, torch.zeros(5), 1) == [0.0] * 5


@pytest.mark.parametrize("stage", ["arc", "clipping"])
def test_one_huge_update_is_brought_down_to_the_others(stage: str) -> None:
    assert max(_lengths(stage, torch.tensor([1.0, 1e25, 1.0, 1.0, 1.0]), 1)) == pytest.approx(1.0, rel=1e-4)
