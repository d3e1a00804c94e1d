"""Ours against stored results of ByzFL 0.0.11, a peer's independent code; `data/make_byzfl_vectors.py` made them.

So are the references against which everything else is compared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.strategies.cohorts import aggregate
from tests.strategies.references import reference

STORED = json.loads((Path(__file__).parent / "data" / "byzfl_vectors.json").read_text(encoding="utf-8"))
CASES = [pytest.param(case, id=f"{len(case['updates'])}x{len(case['updates'][0])}") for case in STORED["cases"]]


def test_vectors_name_their_source() -> None:
    assert STORED["source"] == "byzfl 0.0.11"
    expected = {"mean", "median", "trimmed_mean", "mda", "nnm+mean", "nnm+median", "nnm+trimmed_mean"}
    assert all(expected <= case["answers"].keys() for case in STORED["cases"])


@pytest.mark.parametrize("case", CASES)
def test_rules_are_those_of_byzfl(case: dict[str, Any]) -> None:
    updates_SP = torch.tensor(case["updates"], dtype=torch.float32)
    for name, answer in case["answers"].items():
        # The mean bears no bad site; ByzFL has no such check, and NNM needs f.
        if name.endswith("+mean"):
            continue
        num_byzantine = 0 if name == "mean" else case["num_byzantine"]
        found_P = aggregate(name, updates_SP, num_byzantine).update_P
        np.testing.assert_allclose(found_P.numpy(), answer, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_references_are_those_of_byzfl(case: dict[str, Any]) -> None:
    exact_SP = np.array(case["updates"])
    for name, answer in case["answers"].items():
        expected_P = reference(name, exact_SP, case["num_byzantine"])
        np.testing.assert_allclose(expected_P, answer, rtol=1e-6, atol=1e-6, err_msg=name)
