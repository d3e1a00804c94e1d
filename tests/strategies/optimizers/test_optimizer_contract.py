"""What every server optimizer keeps: purity, explicit state, finite steps; and the registry."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.config.load import load_config
from common.errors import ConfigError
from strategies.optimizers.interface import OPTIMIZERS, ServerOptimizer, build_optimizer

NUM_VALUES = 20
CONFIG = load_config([]).server_optimizer
UPDATES = torch.randn(6, NUM_VALUES, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=OPTIMIZERS.names)
def optimizer(request: pytest.FixtureRequest) -> ServerOptimizer:
    return _built(request.param)


def _built(name: str) -> ServerOptimizer:
    return build_optimizer(replace(CONFIG, name=name, learning_rate=0.1, momentum=0.0 if name == "fedavg" else 0.9))


def test_step_leaves_its_arguments_as_they_are(optimizer: ServerOptimizer) -> None:
    _, state = optimizer.step(UPDATES[0].clone(), optimizer.init(NUM_VALUES))
    update_P, before = UPDATES[1].clone(), {name: array.clone() for name, array in state.items()}
    optimizer.step(update_P, state)
    assert torch.equal(update_P, UPDATES[1])
    assert all(torch.equal(state[name], array) for name, array in before.items())


def test_step_returns_memory_of_its_own(optimizer: ServerOptimizer) -> None:
    """The caller writes the next round's updates over this one's."""
    block = UPDATES.clone()
    change_P, state = optimizer.step(block[0], optimizer.init(NUM_VALUES))
    kept = {"change": change_P.clone()} | {name: array.clone() for name, array in state.items()}
    block.fill_(7.0)
    assert torch.equal(change_P, kept["change"])
    assert all(torch.equal(array, kept[name]) for name, array in state.items())


def test_state_is_all_that_the_next_round_needs(optimizer: ServerOptimizer) -> None:
    state = optimizer.init(NUM_VALUES)
    for update_P in UPDATES[:3]:
        _, state = optimizer.step(update_P, state)
    twin = replace(optimizer)  # type: ignore[type-var] # a dataclass, as all of them are
    copied = {name: torch.from_numpy(array.numpy().copy()) for name, array in state.items()}
    for update_P in UPDATES[3:]:
        change_P, state = optimizer.step(update_P, state)
        twin_P, copied = twin.step(update_P, copied)
        assert torch.equal(change_P, twin_P)


def test_state_is_float32_arrays_of_the_models_size(optimizer: ServerOptimizer) -> None:
    _, state = optimizer.step(UPDATES[0], optimizer.init(NUM_VALUES))
    assert state.keys() == optimizer.init(NUM_VALUES).keys()
    assert {(array.dtype, array.shape) for array in state.values()} <= {(torch.float32, (NUM_VALUES,))}


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e9])
def test_change_is_finite_and_points_with_the_update(optimizer: ServerOptimizer, size: float) -> None:
    update_P = size * UPDATES[0].sign()
    change_P, state = optimizer.step(update_P, optimizer.init(NUM_VALUES))
    assert change_P.isfinite().all()
    assert all(array.isfinite().all() for array in state.values())
    assert (change_P * update_P >= 0).all()


def test_optimizer_unknown_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"server_optimizer\.name=fedadm: unknown; did you mean fedadam"):
        build_optimizer(replace(CONFIG, name="fedadm"))
