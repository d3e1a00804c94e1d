"""Every rule and stage gives on an accelerator what it gives on a CPU, up to rounding, and there it stays."""

from __future__ import annotations

import pytest
import torch

from strategies.interface import RULES, STAGES
from tests.strategies.cohorts import aggregate, cohort

NAMES = [*RULES.names, *(f"{stage}+median" for stage in STAGES.names), "arc+nnm+trimmed_mean"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_result_on_an_accelerator_is_that_on_a_cpu(name: str) -> None:
    updates_SP = cohort("heterogeneous", "far", (11, 100_003), 2, seed=5)
    num_byzantine = 0 if name == "mean" else 2
    there = aggregate(name, updates_SP.cuda(), num_byzantine)
    here = aggregate(name, updates_SP, num_byzantine)
    assert there.update_P.is_cuda
    torch.testing.assert_close(there.update_P.cpu(), here.update_P, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(there.site_weights_S.cpu(), here.site_weights_S, rtol=1e-3, atol=1e-3)
