"""Server momentum against the closed form of its recursion."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.server_optimizer import ServerMomentum


def test_without_momentum_it_is_federated_averaging() -> None:
    optimizer = ServerMomentum(learning_rate=1.0, momentum=0.0)
    update_P = torch.tensor([1.0, -2.0])
    change_P, state = optimizer.step(update_P, optimizer.init(2))
    assert torch.equal(change_P, update_P)
    assert state == {}


@settings(deadline=None)
@given(
    momentum=st.floats(0.01, 0.99),
    learning_rate=st.floats(0.1, 3.0),
    updates=st.lists(st.floats(-5, 5), min_size=1, max_size=8),
)
def test_total_change_is_the_geometric_sum(momentum: float, learning_rate: float, updates: list[float]) -> None:
    """Round r of R moves the model by its update times 1 + m + ... + m^(R - r) in all."""
    optimizer = ServerMomentum(learning_rate=learning_rate, momentum=momentum)
    state, total = optimizer.init(1), 0.0
    for update in updates:
        change_P, state = optimizer.step(torch.tensor([update]), state)
        total += change_P.item()
    left = range(len(updates), 0, -1)
    expected = sum(u * (1 - momentum**rounds) / (1 - momentum) for u, rounds in zip(updates, left, strict=True))
    assert total == pytest.approx(learning_rate * expected, rel=1e-4, abs=1e-4)


def test_state_is_all_that_the_next_round_needs() -> None:
    optimizer = ServerMomentum(learning_rate=0.5, momentum=0.9)
    _, state = optimizer.step(torch.tensor([2.0]), optimizer.init(1))
    again = ServerMomentum(learning_rate=0.5, momentum=0.9)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    assert torch.equal(again.step(torch.tensor([1.0]), kept)[0], optimizer.step(torch.tensor([1.0]), state)[0])
