"""A crash costs at most the round in flight: what the checkpoint holds, and where the server's log took up the run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial

from common.errors import CannotTell, CheckFailed, CheckpointError
from common.evidence.log_entries import Kind
from common.evidence.manifest import STATE_FILE
from common.wire.update import arrays_digest
from server.checkpoint import RunState, load_state
from simulations.audits.promises.answers import Check, Promise, checked
from simulations.audits.promises.opened import Opened
from simulations.audits.promises.parts import MIB

_MOST_BYTES = 16 << 30


def checks(opened: Opened) -> Iterator[Check]:
    """The checks."""
    command, state = f"wardround audit all {shlex.quote(str(opened.handed.run))}", opened.handed.run / STATE_FILE
    there = [path for path in (state, opened.summary.path, opened.rounds.path) if path.is_file()]
    yield checked("checkpoint", partial(_check_state, opened), promises=(Promise.CRASH,), files=there, command=command)
    if not opened.is_simulation:
        server = [opened.server_log[0]] if opened.server_log else []
        yield checked(
            "restarts", partial(_check_restarts, opened), promises=(Promise.CRASH,), files=server, command=command
        )


def _check_state(opened: Opened) -> str:
    """The state is whole, of this run, and of the rounds and the model that summary and rounds tell of."""
    state, path = _state(opened), opened.handed.run / STATE_FILE
    summary = opened.summary.needed()
    if state.rounds_completed != summary["rounds_completed"]:
        raise CheckFailed(
            f"{path}: is of round {state.rounds_completed}, and the summary of {summary['rounds_completed']}"
        )
    if arrays_digest(state.arrays["model"]) != summary["model_digest"]:
        raise CheckFailed(f"{path}: holds another model than the summary names")
    if state.rounds != opened.rounds.needed():
        raise CheckFailed(f"{opened.rounds.path}: tells of other rounds than the checkpoint")
    return f"whole, of round {state.rounds_completed}; its model {summary['model_digest'][:12]} is the report's"


def _state(opened: Opened) -> RunState:
    path = opened.handed.run / STATE_FILE
    if not path.is_file():
        raise CannotTell(f"{path}: not handed over")
    if path.stat().st_size > _MOST_BYTES:
        raise CannotTell(f"{path}: has more than {_MOST_BYTES // MIB} MiB, and is not read here")
    if opened.run is None:
        raise CannotTell(f"{opened.config.path}: not handed over, or cannot be used, so the run is not known")
    try:
        return load_state(opened.handed.run, config_digest=opened.run)
    except CheckpointError as error:
        says = str(error).split(";")[0]
        raise CheckFailed(f"{says}; ask for it again") from error


def _check_restarts(opened: Opened) -> str:
    """Whenever the run was taken up, it went on behind its last checkpoint; and checkpoints miss no round."""
    path, trail = opened.log_of_server()
    committed, begun, again = 0, 0, 0
    opened_rounds: set[int] = set()
    for entry in opened.of_run(trail):
        if entry.kind is Kind.RUN_OPENED:
            begun += 1
        elif entry.kind is Kind.CHECKPOINT:
            number = int(str(entry.fields["round"]))
            if number not in {committed, committed + 1}:
                raise CheckFailed(f"{path}: entry {entry.number}: a checkpoint of round {number} follows {committed}")
            committed = number
        elif entry.kind is Kind.ROUND_OPENED:
            number = int(str(entry.fields["round"]))
            if number != committed + 1:
                raise CheckFailed(
                    f"{path}: entry {entry.number}: opened round {number} when {committed} rounds were on the disk"
                )
            again += number in opened_rounds
            opened_rounds.add(number)
    if not begun:
        raise CannotTell(f"{path}: holds nothing of this run")
    times = "once, without a break" if begun == 1 else f"{begun} times"
    return f"taken up {times}; {again} rounds were asked anew, each the one in flight"
