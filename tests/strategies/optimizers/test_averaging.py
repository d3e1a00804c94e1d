"""Federated averaging, and momentum against the closed form of its recursion."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config.load import load_config
from common.errors import ConfigError
from strategies.optimizers.averaging import FedAvg, FedAvgM
from strategies.optimizers.interface import build_optimizer

CONFIG = load_config([]).server_optimizer


def test_fedavg_moves_the_model_by_the_update() -> None:
    optimizer = build_optimizer(CONFIG)
    update_P = torch.tensor([1.0, -2.0])
    change_P, state = optimizer.step(update_P, optimizer.init(2))
    assert torch.equal(change_P, update_P)
    assert state == {}


def test_fedavg_refuses_momentum_that_it_would_ignore() -> None:
    with pytest.raises(ConfigError, match=r"server_optimizer\.momentum=0\.9.*name=fedavgm"):
        build_optimizer(replace(CONFIG, momentum=0.9))


def test_fedavgm_without_momentum_is_fedavg() -> None:
    update_P = torch.tensor([0.3, -2.0])
    averaging, momentum = FedAvg(learning_rate=0.7), FedAvgM(learning_rate=0.7, momentum=0.0)
    change_P, state = momentum.step(update_P, momentum.init(2))
    assert torch.equal(change_P, averaging.step(update_P, {})[0])
    assert torch.equal(momentum.step(update_P, state)[0], change_P)


@settings(deadline=None)
@given(
    momentum=st.floats(0.01, 0.99),
    learning_rate=st.floats(0.1, 3.0),
    updates=st.lists(st.floats(-5, 5), min_size=1, max_size=8),
)
def test_fedavgm_total_change_is_the_geometric_sum(momentum: float, learning_rate: float, updates: list[float]) -> None:
    """Round r of R moves the model by its update times 1 + m + ... + m^(R - r) in all."""
    optimizer = build_optimizer(replace(CONFIG, name="fedavgm", learning_rate=learning_rate, momentum=momentum))
    state, total = optimizer.init(1), 0.0
    for update in updates:
        change_P, state = optimizer.step(torch.tensor([update]), state)
        total += change_P.item()
    left = range(len(updates), 0, -1)
    expected = sum(u * (1 - momentum**rounds) / (1 - momentum) for u, rounds in zip(updates, left, strict=True))
    assert total == pytest.approx(learning_rate * expected, rel=1e-4, abs=1e-4)
