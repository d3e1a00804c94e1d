"""Sites without studies, and the state of a model of any size.

They answer at once with an update that is ready, through the site's own encoding and gate: what is left of a round
is what the system itself costs.
"""

from __future__ import annotations

import logging
from datetime import time
from functools import lru_cache

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from numpy.typing import NDArray

from client.gate.gate import Gate, Guard
from client.gate.recorder import NoRecorder
from client.policy.interface import RunRequest
from client.policy.simulated import simulation_policy
from common.config.load import load_config
from common.privacy.bands import SMALL, band_of
from common.privacy.release import Mechanism, Release
from common.wire.flower import (
    MODEL,
    SITE,
    STATISTICS,
    UPDATE,
    Hello,
    Reply,
    hello_reply_to_records,
    reply_to_records,
    task_from_records,
)
from common.wire.flower_arrays import arrays_from_record
from server.checkpoint import RunState

NUM_ARRAYS = 10
STEP = 1e-4
CONFIG_DIGEST = "bench"
STATISTICS_OF_A_ROUND = {"brief": {"recall_at_10": 0.5, "codes_recall_at_10": 0.5}}
MEASURED = (
    Release(name=SITE, mechanism=Mechanism.PUBLIC),
    Release(name=STATISTICS, mechanism=Mechanism.NOT_PRIVATE),
)
RELEASES = (*MEASURED, Release(name=UPDATE, mechanism=Mechanism.NOT_PRIVATE))

Arrays = dict[str, NDArray[np.float32]]


@lru_cache(maxsize=1)
def constant_arrays(num_values: int) -> Arrays:
    """`num_values` equal numbers over `NUM_ARRAYS` arrays; the first ones are one longer where they do not divide."""
    parts = np.array_split(np.full(num_values, STEP, dtype=np.float32), NUM_ARRAYS)
    return {f"layer{number}.weight": part for number, part in enumerate(parts)}


@lru_cache(maxsize=1)
def arrays_of_round(num_values: int, round_number: int) -> Arrays:
    """The constant arrays but for the first number, which counts the rounds: the same update twice is a replay."""
    arrays = constant_arrays(num_values)
    name, first = next(iter(arrays.items()))
    changed = first.copy()
    changed[0] = round_number * STEP
    return {**arrays, name: changed}


def zero_state(num_values: int) -> RunState:
    """A run before its first round, its model all zeros."""
    model = {name: np.zeros_like(array) for name, array in constant_arrays(num_values).items()}
    return RunState.before_round_one(CONFIG_DIGEST, model)


def build_noop_app(num_values: int) -> ClientApp:
    """A ClientApp for every site of the consortium; it holds a number alone, so that Ray can send it anywhere."""
    app = ClientApp()
    mods: list[Mod] = [Gate(_guard_of, logging.getLogger("wardround.site"))]

    @app.query(mods=mods)
    def hello(message: Message, context: Context) -> Message:
        return Message(hello_reply_to_records(Hello(site=_name(context), patients_band=band_of(100))), reply_to=message)

    @app.train(mods=mods)
    def train(message: Message, context: Context) -> Message:
        task = task_from_records(message.content)
        arrays_from_record(message.content.array_records[MODEL])
        update = arrays_of_round(num_values, task.round_number) if task.train else None
        releases = RELEASES if task.train else MEASURED
        reply = Reply(
            site=_name(context),
            round_number=task.round_number,
            run=task.config_digest,
            update=update,
            statistics=STATISTICS_OF_A_ROUND,
            releases=releases,
        )
        return Message(reply_to_records(reply), reply_to=message)

    return app


def _guard_of(context: Context) -> Guard:  # noqa: ARG001 - the same for every site
    return Guard(policy=simulation_policy(), run=_run, ledger=None, recorder=NoRecorder())


@lru_cache(maxsize=1)
def _run() -> RunRequest:
    config = load_config(["privacy.epsilon=null"])
    return RunRequest(
        config=config,
        config_digest=CONFIG_DIGEST,
        bundle_hash=None,
        events=(),
        rounds=config.federation.rounds,
        patients_band=SMALL,
        cohort=None,
        arrays=None,
        device=config.device,
        local_time=time(12),
    )


def _name(context: Context) -> str:
    return f"site-{context.node_config['partition-id']}"
