"""An aggregation rule as a Flower `Strategy`, for any Flower app whose clients answer with new arrays.

    rule = build_aggregator(AggregatorConfig(name="arc+nnm+trimmed_mean", num_byzantine=2), seed=0)
    strategy = RobustStrategy(rule, FedAvg(learning_rate=1.0), min_nodes=10)
    result = strategy.start(grid, initial_arrays, num_rounds=20)

What a client sends is checked before the rule sees it. A reply with other names, shapes or types, with a number that
is not finite or with too long an update is dropped and counted; an error reply is left out. Nothing that a client
claims of itself, its number of examples for one, has any weight. Where the rule cannot aggregate, the model stays and
the round's metrics say so. No reply raises. Stale and replayed replies, which need a task of our own, are known by
`server/admission.py` alone.

Arrays of float32 are trained. Whole numbers, such as a counter of batches, stay as the server has them: in a distance
they outweigh everything. Clients' arrays must lie in C order, as PyTorch's parameters do.

Metrics of clients are not averaged: one client could set any such mean. Measure on the server, with `evaluate_fn` of
`start`.

Shapes: S clients whose replies were admitted, P float32 values of the model.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from common.errors import AdmissionError, AggregationError, ConfigError
from common.wire.flower_arrays import arrays_from_record, arrays_to_record, planned_arrays
from common.wire.update import ArrayPlan, NamedArrays, checked_norm
from strategies.interface import Aggregator, State
from strategies.optimizers.interface import ServerOptimizer

ARRAYS, CONFIG, ROUND = "arrays", "config", "server-round"
"""Names that Flower's own strategies use in their messages."""
POLL_SECONDS = 1.0

_log = logging.getLogger("wardround.strategy")


class RobustStrategy(Strategy):
    """A Flower strategy around one rule.

    Args:
        aggregator: The rule.
        optimizer: How its result moves the model.
        min_nodes: Nodes that a round waits for; every node there is then asked.
        max_update_norm: Greatest Euclidean norm of a client's update.

    Attributes:
        drops: Node to reason to number of rounds in which its reply was dropped.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        optimizer: ServerOptimizer,
        *,
        min_nodes: int = 2,
        max_update_norm: float = math.inf,
    ) -> None:
        self.drops: dict[int, Counter[str]] = {}
        self._aggregator = aggregator
        self._optimizer = optimizer
        self._min_nodes = min_nodes
        self._max_update_norm = max_update_norm
        self._rule_state: State | None = None
        self._optimizer_state: State | None = None
        self._asked: list[int] = []
        self._model: NamedArrays = {}
        self._trained = ArrayPlan({})

    def summary(self) -> None:
        """Log the rule and the optimizer."""
        _log.info("rule %s, optimizer %s, at least %d nodes", self._aggregator, self._optimizer, self._min_nodes)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask every node, once there are enough.

        Raises:
            ConfigError: The model holds fractional numbers other than float32, or no float32, or is not in C order.
        """
        self._model = _read_model(arrays)
        self._trained = _trained_part(self._model)
        while len(nodes := sorted(grid.get_node_ids())) < self._min_nodes:
            time.sleep(POLL_SECONDS)
        self._asked = nodes
        config[ROUND] = server_round
        content = RecordDict({ARRAYS: arrays, CONFIG: config})
        return [Message(content, node, MessageType.TRAIN) for node in nodes]

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord, MetricRecord]:
        """The next model, from the replies that are admitted; and how many were, and why others were not."""
        updates_SP, dropped = self._admit(replies)
        metrics = {"admitted": len(updates_SP), "updated": 1} | {f"dropped-{why}": n for why, n in dropped.items()}
        try:
            self._step(torch.from_numpy(updates_SP))
        except AggregationError as error:
            metrics["updated"] = 0
            _log.warning("round %d: the model stays as it is: %s", server_round, error)
        return arrays_to_record(self._model), MetricRecord({**metrics})

    def configure_evaluate(
        self,
        server_round: int,  # noqa: ARG002 - Flower's signature
        arrays: ArrayRecord,  # noqa: ARG002
        config: ConfigRecord,  # noqa: ARG002
        grid: Grid,  # noqa: ARG002
    ) -> Iterable[Message]:
        """Nobody is asked."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        """There is nothing to aggregate."""

    def _admit(self, replies: Iterable[Message]) -> tuple[NDArray[np.float32], Counter[str]]:
        """Admitted updates `[S, P]` in the order of the nodes, and how many replies were dropped for which reason."""
        rows = {node: row for row, node in enumerate(self._asked)}
        block = np.empty((len(rows), self._trained.num_values), dtype=np.float32)
        admitted: set[int] = set()
        dropped: Counter[str] = Counter()
        for message in replies:
            node = message.metadata.src_node_id
            if node not in rows or node in admitted or message.has_error():
                continue
            try:
                self._write_update(message.content, block[rows[node]])
                admitted.add(node)
            except AdmissionError as error:
                dropped[str(error)] += 1
                self.drops.setdefault(node, Counter())[str(error)] += 1
        return block[[rows[node] for node in self._asked if node in admitted]], dropped

    def _write_update(self, content: RecordDict, into_P: NDArray[np.float32]) -> None:
        """Write a client's new minus the server's old arrays into a row.

        Raises:
            AdmissionError: With the reason code.
        """
        if len(content.array_records) != 1:
            raise AdmissionError("keys")
        (record,) = content.array_records.values()
        arrays = planned_arrays(record, ArrayPlan.of(self._model))
        with np.errstate(over="ignore", invalid="ignore"):
            self._trained.write_flat({name: arrays[name] - self._model[name] for name in self._trained.arrays}, into_P)
        checked_norm(into_P, max_norm=self._max_update_norm)

    def _step(self, updates_SP: torch.Tensor) -> None:
        """Aggregate and move the model.

        Raises:
            AggregationError: The rule cannot; nothing has changed.
        """
        rule_state = self._aggregator.init() if self._rule_state is None else self._rule_state
        aggregate = self._aggregator.aggregate(updates_SP, torch.ones(len(updates_SP)), rule_state)
        if not aggregate.update_P.isfinite().all():
            raise AggregationError("the aggregated update is not finite")
        optimizer_state = self._optimizer_state
        if optimizer_state is None:
            optimizer_state = self._optimizer.init(self._trained.num_values)
        change_P, self._optimizer_state = self._optimizer.step(aggregate.update_P, optimizer_state)
        self._rule_state = aggregate.state
        changes = self._trained.unflatten(change_P.numpy())
        self._model = {name: array + changes[name] if name in changes else array for name, array in self._model.items()}


def _read_model(record: ArrayRecord) -> NamedArrays:
    try:
        return arrays_from_record(record)
    except AdmissionError as error:
        raise ConfigError(
            "initial_arrays: an array is not in C order; pass it through numpy.ascontiguousarray"
        ) from error


def _trained_part(model: NamedArrays) -> ArrayPlan:
    for name, array in model.items():
        if array.dtype.kind in "fc" and array.dtype != np.float32:
            raise ConfigError(f"initial_arrays: {name} is {array.dtype}; train in float32, and cast the model to it")
    trained = {name: array for name, array in model.items() if array.dtype == np.float32}
    if not trained:
        raise ConfigError("initial_arrays: no array is float32, so that there is nothing to train")
    return ArrayPlan.of(trained)
