"""A rule in a plain Flower app, run by Flower's own `Strategy.start`: bad clients cost nothing but their place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg as FlowerFedAvg
from flwr.serverapp.strategy import Result, Strategy
from numpy.typing import NDArray

from common.config.schema import AggregatorConfig
from common.errors import ConfigError
from simulations.runtime import FIRST_NODE, Handler, InProcessGrid
from strategies.composition import build_aggregator
from strategies.flower import RobustStrategy
from strategies.interface import Aggregator
from strategies.optimizers.averaging import FedAvg, FedAvgM
from strategies.optimizers.interface import ServerOptimizer

pytestmark = pytest.mark.usefixtures("flower_runtime")

Arrays = dict[str, NDArray[Any]]
Sends = Callable[[Arrays, int], RecordDict | Error]
"""What a client answers to the global arrays, in a round."""

TARGET = 3.0
START: Arrays = {
    "layer.weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "norm.num_batches_tracked": np.array(5, dtype=np.int64),
    "layer.bias": np.zeros(3, dtype=np.float32),
}
TRAINED = ("layer.weight", "layer.bias")


def honest_arrays(arrays: Arrays, number: int, round_number: int) -> Arrays:
    """Half the way to the target, and the client's own noise."""
    noise = np.random.default_rng([number, round_number])
    moved = {
        name: (a + (TARGET - a) / 2 + noise.normal(scale=0.01, size=a.shape)).astype(np.float32)
        for name, a in arrays.items()
        if name in TRAINED
    }
    return arrays | moved | {"norm.num_batches_tracked": arrays["norm.num_batches_tracked"] + 7 * number + 1}


def answer(arrays: Arrays, *, num_examples: float = 10) -> RecordDict:
    """As a plain Flower client answers: new arrays, and metrics with the number of examples."""
    record = ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})
    return RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": num_examples, "loss": 0.5})})


def honest(number: int) -> Sends:
    return lambda arrays, round_number: answer(honest_arrays(arrays, number, round_number))


def sends_nan(arrays: Arrays, _: int) -> RecordDict:
    return answer(arrays | {"layer.bias": np.full(3, np.nan, dtype=np.float32)})


def sends_a_million(arrays: Arrays, _: int) -> RecordDict:
    """An update a million times as long, the other way, from a client that claims to have nearly all examples."""
    scaled = {name: (arrays[name] - 1e6 * (TARGET - arrays[name])).astype(np.float32) for name in TRAINED}
    return answer(arrays | scaled, num_examples=1e9)


def client_app(send: Sends) -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, _: Context) -> Message:
        arrays = {name: array.numpy() for name, array in message.content.array_records["arrays"].items()}
        return Message(send(arrays, int(str(message.content["config"]["server-round"]))), reply_to=message)

    return app


Start = Callable[[Strategy, Sequence[Handler]], Result]


@pytest.fixture
def start() -> Iterator[Start]:
    grids: list[InProcessGrid] = []

    def run(strategy: Strategy, handlers: Sequence[Handler], *, num_rounds: int = 3) -> Result:
        grids.append(InProcessGrid(handlers, num_workers=2))
        initial = ArrayRecord({name: Array(array) for name, array in START.items()})
        return strategy.start(grids[-1], initial, num_rounds=num_rounds, timeout=20)

    yield run
    for grid in grids:
        grid.close()


def rule(name: str = "trimmed_mean", num_byzantine: int = 1) -> Aggregator:
    return build_aggregator(AggregatorConfig(name=name, num_byzantine=num_byzantine), seed=0)


def robust(name: str = "trimmed_mean", num_byzantine: int = 1, **options: Any) -> RobustStrategy:
    optimizer: ServerOptimizer = options.pop("optimizer", FedAvg(learning_rate=1.0))
    return RobustStrategy(rule(name, num_byzantine), optimizer, min_nodes=2, **options)


def arrays_of(result: Result) -> Arrays:
    return {name: array.numpy() for name, array in result.arrays.items()}


def flat(arrays: Arrays) -> NDArray[np.float32]:
    return np.concatenate([arrays[name].ravel() for name in TRAINED])


@pytest.mark.parametrize("name", ["trimmed_mean", "median", "geometric_median", "arc+nnm+trimmed_mean"])
def test_robust_strategy_gets_there_where_flowers_fedavg_is_poisoned(start: Start, name: str) -> None:
    """Five clients, of which one sends NaN and one an update times a million; then Flower's own with the same."""
    clients = [client_app(send) for send in (honest(0), sends_nan, honest(2), sends_a_million, honest(4))]
    strategy = robust(name)
    result = start(strategy, clients)
    assert np.abs(flat(arrays_of(result)) - TARGET).max() < 0.6
    nan_node = FIRST_NODE + 1
    assert strategy.drops == {nan_node: {"nan": 3}}
    for metrics in result.train_metrics_clientapp.values():
        assert dict(metrics) == {"admitted": 4, "updated": 1, "dropped-nan": 1}

    poisoned = FlowerFedAvg(fraction_evaluate=0.0)
    with np.errstate(invalid="ignore"):
        assert np.isnan(flat(arrays_of(start(poisoned, clients)))).any()
    without_nan = [clients[position] for position in (0, 2, 3, 4)]
    assert np.abs(flat(arrays_of(start(FlowerFedAvg(fraction_evaluate=0.0), without_nan)))).max() > 1e5


@pytest.mark.parametrize("name", ["trimmed_mean", "nnm+median", "krum"])
def test_result_is_the_rules_own_and_the_order_of_arrival_changes_nothing(start: Start, name: str) -> None:
    clients = [client_app(honest(number)) for number in range(5)]
    result = start(robust(name, optimizer=FedAvgM(learning_rate=0.5, momentum=0.9)), clients)
    model, momentum = flat(START), np.zeros(15, dtype=np.float32)
    called = rule(name)
    state = called.init()
    arrays = dict(START)
    for round_number in (1, 2, 3):
        sent = [flat(honest_arrays(arrays, number, round_number)) for number in range(5)]
        updates_SP = torch.from_numpy(np.stack([new - model for new in sent]))
        found = called.aggregate(updates_SP, torch.ones(5), state)
        state = found.state
        momentum = np.float32(0.9) * momentum + found.update_P.numpy()
        model = model + np.float32(0.5) * momentum
        arrays |= {"layer.weight": model[:12].reshape(3, 4), "layer.bias": model[12:]}
    np.testing.assert_allclose(flat(arrays_of(result)), model, rtol=1e-6, atol=1e-6)


def test_whole_numbers_stay_and_never_enter_a_distance(start: Start) -> None:
    """Counters are far apart; with them in the distance Krum would choose by them."""
    far = {"norm.num_batches_tracked": np.array(10**9, dtype=np.int64)}
    clients = [client_app(honest(number)) for number in range(4)]
    same = start(robust("krum"), [*clients, client_app(honest(4))])
    moved = start(robust("krum"), [*clients, client_app(lambda a, r: answer(honest_arrays(a, 4, r) | far))])
    assert arrays_of(same)["norm.num_batches_tracked"] == 5
    assert flat(arrays_of(same)).tobytes() == flat(arrays_of(moved)).tobytes()


def _two_records(arrays: Arrays, _: int) -> RecordDict:
    records = answer(arrays)
    records["more"] = records["arrays"]
    return records


def _no_header(arrays: Arrays, _: int) -> RecordDict:
    records = answer(arrays)
    records.array_records["arrays"]["layer.bias"].data = b"\x93NUMPY"
    return records


BAD: dict[str, tuple[Sends, str]] = {
    "other names": (lambda arrays, _: answer({f"{name}.x": array for name, array in arrays.items()}), "keys"),
    "one array less": (lambda arrays, _: answer({"layer.bias": arrays["layer.bias"]}), "keys"),
    "nothing": (lambda *_: RecordDict(), "keys"),
    "two records of arrays": (_two_records, "keys"),
    "another shape": (lambda arrays, _: answer(arrays | {"layer.bias": np.zeros((3, 1), np.float32)}), "shape"),
    "float64": (lambda arrays, _: answer(arrays | {"layer.bias": np.zeros(3)}), "dtype"),
    "float16": (lambda arrays, _: answer(arrays | {"layer.bias": np.zeros(3, np.float16)}), "dtype"),
    "complex": (lambda arrays, _: answer(arrays | {"layer.bias": np.zeros(3, np.complex64)}), "dtype"),
    "far too many": (lambda arrays, _: answer(arrays | {"layer.bias": np.zeros(10**5, np.float32)}), "size"),
    "no header": (_no_header, "malformed"),
    "infinity": (lambda arrays, _: answer(arrays | {"layer.bias": np.full(3, np.inf, np.float32)}), "nan"),
    "beyond float32": (lambda arrays, _: answer(arrays | {"layer.bias": np.full(3, 3e38, np.float32)}), "norm"),
    "too long": (lambda arrays, _: answer(arrays | {"layer.bias": np.full(3, 2e3, np.float32)}), "norm"),
}


@pytest.mark.parametrize(("send", "reason"), BAD.values(), ids=BAD)
def test_bad_reply_is_dropped_and_counted_and_the_result_is_that_of_the_others(
    start: Start, send: Sends, reason: str
) -> None:
    others = [client_app(honest(number)) for number in range(4)]
    strategy = robust(max_update_norm=1e3)
    result = start(strategy, [*others, client_app(send)])
    assert strategy.drops == {FIRST_NODE + 4: {reason: 3}}
    assert [metrics[f"dropped-{reason}"] for metrics in result.train_metrics_clientapp.values()] == [1, 1, 1]
    assert flat(arrays_of(result)).tobytes() == flat(arrays_of(start(robust(), others))).tobytes()


def test_client_that_raises_or_says_so_is_left_out(start: Start) -> None:
    def raising(arrays: Arrays, _: int) -> RecordDict:
        raise RuntimeError(f"{len(arrays)} arrays")

    others = [client_app(honest(number)) for number in range(4)]
    strategy = robust()
    result = start(strategy, [*others, client_app(raising), client_app(lambda *_: Error(0, "out of memory"))])
    assert strategy.drops == {}
    assert [metrics["admitted"] for metrics in result.train_metrics_clientapp.values()] == [4, 4, 4]


def test_number_of_examples_that_a_client_claims_buys_nothing(start: Start) -> None:
    def boastful(arrays: Arrays, round_number: int) -> RecordDict:
        return answer(honest_arrays(arrays, 2, round_number), num_examples=1e9)

    clients = [client_app(honest(number)) for number in range(3)]
    modest, boasting = (start(robust("mean", 0), [*clients[:2], last]) for last in (clients[2], client_app(boastful)))
    assert flat(arrays_of(modest)).tobytes() == flat(arrays_of(boasting)).tobytes()


def test_round_that_the_rule_cannot_aggregate_leaves_the_model_and_says_so(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Two of three are dropped in round two: too few for one bad client."""

    def bad_in_round_two(number: int) -> Sends:
        return lambda arrays, r: sends_nan(arrays, r) if r == 2 else honest(number)(arrays, r)

    clients = [client_app(send) for send in (honest(0), bad_in_round_two(1), bad_in_round_two(2))]
    with caplog.at_level(logging.WARNING, logger="wardround.strategy"):
        result = start(robust(), clients)
    assert [metrics["updated"] for metrics in result.train_metrics_clientapp.values()] == [1, 0, 1]
    assert "round 2: the model stays as it is" in caplog.text
    assert np.abs(flat(arrays_of(result)) - TARGET).max() < 1.1  # two halvings of 4, not three


def test_model_is_there_even_where_no_round_could_be_aggregated(start: Start) -> None:
    result = start(robust(), [client_app(sends_nan)] * 3)
    assert {name: array.tolist() for name, array in arrays_of(result).items()} == {
        name: array.tolist() for name, array in START.items()
    }


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"w": np.zeros(3)}, "w is float64"),
        ({"w": np.zeros(3, np.float16)}, "w is float16"),
        ({"n": np.zeros(3, np.int64)}, "no array is float32"),
        ({"w": np.asfortranarray(np.zeros((2, 3), np.float32))}, "ascontiguousarray"),
    ],
)
def test_model_that_cannot_be_trained_is_refused_before_a_client_is_asked(arrays: Arrays, match: str) -> None:
    grid = InProcessGrid([client_app(honest(0))], num_workers=1)
    initial = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    with pytest.raises(ConfigError, match=match):
        robust().configure_train(1, initial, ConfigRecord(), grid)
    grid.close()
