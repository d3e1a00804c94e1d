"""The plan refuses what cannot be drawn and names its sites the same way for any size."""

from __future__ import annotations

import math
from typing import Any

import pytest

from common.errors import ConfigError
from simulations.cohorts.plan import CohortPlan

GOOD: dict[str, Any] = {
    "num_sites": 2,
    "patients_per_site": 3,
    "public_patients": 0,
    "image_size": 32,
    "site_shift": 0.5,
    "confounder": False,
    "seed": 1,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_sites", 0),
        ("patients_per_site", 0),
        ("public_patients", -1),
        ("image_size", 31),
        ("site_shift", -0.01),
        ("site_shift", 1.01),
        ("site_shift", math.nan),
    ],
)
def test_plan_out_of_range_names_the_key_and_the_value(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"data\.synthetic\.{field}={value}: must be between"):
        CohortPlan(**(GOOD | {field: value}))


@pytest.mark.parametrize(("field", "value"), [("num_sites", 1), ("site_shift", 0.0), ("site_shift", 1.0)])
def test_plan_at_the_ends_of_a_range_is_accepted(field: str, value: float) -> None:
    CohortPlan(**(GOOD | {field: value}))


def test_plan_names_sites_readably_and_uniquely() -> None:
    names = CohortPlan(**(GOOD | {"num_sites": 12})).site_names
    assert names[:6] == ("northgate", "riverside", "st-marys", "hillview", "harbour", "site-06")
    assert len(set(names)) == 12


def test_plan_counts_the_patients_of_hospitals_and_public_set() -> None:
    assert CohortPlan(**(GOOD | {"public_patients": 5})).num_patients == 2 * 3 + 5
