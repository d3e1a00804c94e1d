"""FedAdam and FedYogi against loops of Python's own floats, and against Flower's strategies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAdam, FedYogi
from numpy.typing import NDArray

from common.config.load import load_config
from common.config.schema import ServerOptimizerConfig
from simulations.runtime import InProcessGrid
from strategies.optimizers.interface import ServerOptimizer, build_optimizer

NUM_ROUNDS, NUM_VALUES = 12, 50
CONFIG = replace(
    load_config([]).server_optimizer, learning_rate=0.05, momentum=0.9, second_momentum=0.98, adaptivity=0.01
)
ADAPTIVE = ["fedadam", "fedyogi"]


def updates() -> NDArray[np.float32]:
    """Rounds whose coordinates differ in size by six powers of ten, with a coordinate that is always zero."""
    generator = np.random.default_rng(0)
    sizes = np.logspace(-5, 1, NUM_VALUES) * (np.arange(NUM_VALUES) != 7)
    return (generator.normal(size=(NUM_ROUNDS, NUM_VALUES)) * sizes).astype(np.float32)


def changes(optimizer: ServerOptimizer) -> list[torch.Tensor]:
    state, found = optimizer.init(NUM_VALUES), []
    for update in updates():
        change_P, state = optimizer.step(torch.from_numpy(update), state)
        found.append(change_P)
    return found


def looped(name: str, config: ServerOptimizerConfig, history: Sequence[float]) -> list[float]:
    """One coordinate of Algorithm 2, in float64."""
    direction, squared, found = 0.0, config.adaptivity**2, []
    for update in history:
        direction += (1 - config.momentum) * (update - direction)
        if name == "fedadam":
            squared += (1 - config.second_momentum) * (update**2 - squared)
        elif squared > update**2:
            squared -= (1 - config.second_momentum) * update**2
        elif squared < update**2:
            squared += (1 - config.second_momentum) * update**2
        found.append(config.learning_rate * direction / (math.sqrt(squared) + config.adaptivity))
    return found


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("changed", [{}, {"momentum": 0.0}, {"second_momentum": 0.0}, {"adaptivity": 1e-6}])
def test_adaptive_equals_a_float64_loop(name: str, changed: dict[str, float]) -> None:
    config = replace(CONFIG, name=name, **changed)
    found = torch.stack(changes(build_optimizer(config))).double().numpy()
    for position, history in enumerate(updates().astype(float).T):
        np.testing.assert_allclose(found[:, position], looped(name, config, history), rtol=2e-4, atol=1e-9)


def test_yogi_and_adam_part_where_updates_shrink() -> None:
    """The control of the reference: the two rules are not one. Adam forgets a large update, Yogi keeps it longer."""
    history = [1.0] * 20 + [0.01] * 200
    adam, yogi = looped("fedadam", CONFIG, history), looped("fedyogi", CONFIG, history)
    assert adam[-1] > 2 * yogi[-1] > 0


def flower_models(strategy: FedAdam | FedYogi) -> list[NDArray[np.float64]]:
    """The model after each round of Flower's own strategy, with one client that sends the model plus the update.

    Two things that Flower does otherwise than Algorithm 2 are taken out: it begins with v = 0, and its FedAdam
    corrects the bias of the start.
    """
    models: list[NDArray[np.float64]] = []
    strategy.v_t = {"x": np.full(NUM_VALUES, CONFIG.adaptivity**2)}

    def client(message: Message, _: Context) -> Message:
        received = message.content.array_records["arrays"]["x"].numpy()
        sent = ArrayRecord({"x": Array(received + updates()[len(models) - 1])})
        content = RecordDict({"arrays": sent, "metrics": MetricRecord({"num-examples": 1})})
        return Message(content, reply_to=message)

    def after_round(number: int, arrays: ArrayRecord) -> None:
        models.append(arrays["x"].numpy())
        if isinstance(strategy, FedAdam):
            ahead = number + 2  # Flower's power in the round that comes
            bias = math.sqrt(1 - CONFIG.second_momentum**ahead) / (1 - CONFIG.momentum**ahead)
            strategy.eta = CONFIG.learning_rate / bias

    grid = InProcessGrid([client], num_workers=1)
    start = ArrayRecord({"x": Array(np.zeros(NUM_VALUES))})
    strategy.start(grid, start, num_rounds=NUM_ROUNDS, evaluate_fn=after_round)
    grid.close()
    return models[1:]


@pytest.mark.usefixtures("flower_runtime")
@pytest.mark.parametrize(("name", "peer"), [("fedadam", FedAdam), ("fedyogi", FedYogi)])
def test_adaptive_agrees_with_flower(name: str, peer: type[FedAdam | FedYogi]) -> None:
    strategy = peer(
        fraction_evaluate=0.0,
        min_train_nodes=1,
        min_available_nodes=1,
        eta=CONFIG.learning_rate,
        beta_1=CONFIG.momentum,
        beta_2=CONFIG.second_momentum,
        tau=CONFIG.adaptivity,
    )
    ours = torch.stack(changes(build_optimizer(replace(CONFIG, name=name)))).double().cumsum(0).numpy()
    np.testing.assert_allclose(ours, flower_models(strategy), rtol=1e-4, atol=1e-7)
