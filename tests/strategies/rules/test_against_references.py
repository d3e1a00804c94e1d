"""Every rule, alone and behind stages, against the references in float64 on random finite cohorts."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from torch import Tensor

from strategies.interface import RULES, STAGES
from tests.strategies.cohorts import KINDS, PLACES, aggregate, cohort, composition
from tests.strategies.references import RULE_REFERENCES, STAGE_REFERENCES, unambiguous

COMPOSITIONS = [
    *RULES.names,
    *(f"nnm+{rule}" for rule in RULES.names),
    "arc+trimmed_mean",
    "arc+median",
    "arc+krum",
    "arc+caf",
    "arc+geometric_median",
    "clipping+mean",
    "clipping+median",
    "clipping+mda",
    "clipping+centered_clipping",
    "arc+nnm+trimmed_mean",
    "arc+nnm+median",
    "arc+nnm+caf",
    "clipping+nnm+smea",
]
SIZES = [(3, 1), (3, 2000), (4, 7), (5, 40), (7, 300), (8, 2), (10, 1000), (11, 64), (13, 17)]
"""S and P."""

CLOSE = 2e-5
"""Greatest error of a value, over the greatest absolute value of the reference or the median update's mean one.

Products are float32 in blocks, so squared distances are right to about 1e-6 of the spread.
"""

CLOSE_AT_ZERO = 5e-4
"""The same where updates meet the centre, as after mixing: a distance of nothing comes out as the root of 1e-7."""


@pytest.mark.parametrize("name", COMPOSITIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_rule_is_that_of_the_reference(name: str, kind: str) -> None:
    tolerance = CLOSE_AT_ZERO if name in {"nnm+centered_clipping", "nnm+geometric_median"} else CLOSE
    cases = [case for number, size in enumerate(SIZES) for case in _cases(name, kind, number, *size)]
    expected = [unambiguous(name, updates_SP.double().numpy(), num_byzantine) for updates_SP, num_byzantine in cases]
    for (updates_SP, num_byzantine), expected_P in zip(cases, expected, strict=True):
        if expected_P is None:
            continue
        found_P = aggregate(name, updates_SP, num_byzantine).update_P.double().numpy()
        scale = max(float(np.abs(expected_P).max()), float(updates_SP.abs().mean(1).median()))
        error = float(np.abs(found_P - expected_P).max()) / scale
        assert error < tolerance, (updates_SP.shape, num_byzantine, error)
    assert sum(expected_P is not None for expected_P in expected) >= 0.7 * len(cases) > 0


def _cases(name: str, kind: str, number: int, num_sites: int, num_values: int) -> list[tuple[Tensor, int]]:
    """Cohorts of one size with no, one, two and the most bad sites."""
    rule = composition(name, 0).rule
    most = composition(name, 0).max_byzantine(num_sites)
    borne = [f for f in sorted({0, 1, 2, most} & set(range(most + 1))) if not math.isinf(rule.least_points(f))]
    return [(cohort(kind, PLACES[(number + f) % 4], (num_sites, num_values), f, seed=number), f) for f in borne]


def test_every_rule_and_stage_has_a_reference() -> None:
    assert sorted(RULE_REFERENCES) == RULES.names
    assert sorted([*STAGE_REFERENCES, "bucketing"]) == STAGES.names


def test_no_reference_stands_in_for_another() -> None:
    """The control: a rule that took another's place would be seen in some cohort."""
    gaps: dict[tuple[str, str], float] = {}
    for seed in range(8):
        updates_SP = cohort("heterogeneous", "none", (11, 6), 2, seed=seed).double().numpy()
        results = {name: rule(updates_SP, 2) for name, rule in RULE_REFERENCES.items()}
        for pair in combinations(results, 2):
            gap = float(np.abs(results[pair[0]] - results[pair[1]]).max())
            gaps[pair] = max(gaps.get(pair, 0.0), gap)
    assert min(gaps.values()) > 1000 * CLOSE, gaps
