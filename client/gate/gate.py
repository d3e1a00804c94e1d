"""The gate: the outermost layer of a site's own code. What it does not let through does not leave.

Deny by default. On the way in, the recorder checks that the server vouches for the task, then the site's policy is
asked about the run, before any study is read. On the way out:

1. The reply is content, not an error of the app's own, and lists its releases and nothing beside them.
2. Every record is listed as a release, and is one of the forms in `client/gate/forms.py`: its name, its type, its
   fields. A round and a run that it names are those of the task: a number that the site may choose would say what it
   likes.
3. The site's policy allows each release, and the arrays of the update.
4. A release that costs privacy names the ledger entry that reserved exactly this event for this run and round, and the
   ledger settles it: once, before the reply leaves.
5. The site's log says what leaves, and the reply carries the proof (`client/gate/recorder.py`): the last that is done
   to it.

An error leaves as a reason code, without its text. A mod wraps the functions of a Flower app that are
registered with it, so each one must be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from flwr.app import Context, Error, Message, RecordDict

from client.gate.forms import OF_A_ROUND, listed
from client.gate.recorder import Recorder
from client.ledger.ledger import Ledger
from client.policy.interface import Policy, ReleaseRequest, RunRequest
from common.errors import AdmissionError, PolicyRefusal, WardroundError
from common.privacy.release import Release
from common.wire.evidence import evidence_of, record_digest, released_in, with_evidence
from common.wire.flower import (
    GROUPS,
    MODEL,
    ROUND_FIELD,
    RUN_FIELD,
    SITE,
    STATISTICS,
    TASK,
    UPDATE,
    Task,
    task_from_records,
)
from common.wire.flower_arrays import arrays_from_record
from common.wire.update import ArrayPlan

Handler = Callable[[Message, Context], Message]
ERROR_CODE = 1
RAISED = "raised"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What the gate of one site asks.

    Attributes:
        policy: The hospital's own policy.
        run: The run that the site agreed to, as it stands now; the policy is asked about it anew in each round.
        ledger: The site's ledger; None where nothing that costs privacy may leave.
        recorder: Who keeps the evidence.
    """

    policy: Policy
    run: Callable[[], RunRequest]
    ledger: Ledger | None
    recorder: Recorder


class Gate:
    """A Flower mod that guards one site, or in a simulation each of many.

    Args:
        guard_of: The guard of the site that a message is for.
        log: The site's own log.
    """

    def __init__(self, guard_of: Callable[[Context], Guard], log: logging.Logger) -> None:
        self._guard_of = guard_of
        self._log = log

    def __call__(self, message: Message, context: Context, handle: Handler) -> Message:
        """Handle a message and let its reply through, or answer with a reason code."""
        try:
            guard = self._guard_of(context)
            run = guard.run()
            with _noting_refusals(guard.recorder, message, run):
                return Message(_passed(message, context, handle, guard, run), reply_to=message)
        except WardroundError as error:
            self._log.error("refused: %s", error)
            return Message(Error(ERROR_CODE, error.reason), reply_to=message)
        except Exception:
            self._log.exception("failed; the server is told only that this site failed")
            return Message(Error(ERROR_CODE, RAISED), reply_to=message)


@contextmanager
def _noting_refusals(recorder: Recorder, message: Message, run: RunRequest) -> Iterator[None]:
    """Have the recorder note what keeps the block from its end, and raise it all the same."""
    try:
        yield
    except Exception as error:
        reason = error.reason if isinstance(error, WardroundError) else RAISED
        recorder.refused(reason, run=run.config_digest, round_number=_round_named_by(message))
        raise


def _round_named_by(message: Message) -> int:
    """The round that a message asks for; 0 where it names none."""
    try:
        return task_from_records(message.content).round_number
    except (AdmissionError, ValueError):
        return 0


def _passed(message: Message, context: Context, handle: Handler, guard: Guard, run: RunRequest) -> RecordDict:
    """The records of the reply, which have passed the gate.

    Raises:
        Exception: Something refused, or failed.
    """
    content = message.content
    task = task_from_records(content) if TASK in content else None
    evidence = evidence_of(content)
    guard.recorder.admit(evidence, task, lambda: record_digest(content.array_records[MODEL]))
    if task is not None:
        _admit(task, guard, run)
    records = handle(message, context).content
    _let_out(records, guard, run, task.round_number if task is not None else 0)
    shown = guard.recorder.release(
        partial(released_in, records), evidence=evidence, task=task, config=run.config, run=run.config_digest
    )
    return with_evidence(records, shown)


def _admit(task: Task, guard: Guard, run: RunRequest) -> None:
    """Ask the policy about a task before anything is done for it.

    Raises:
        PolicyRefusal: The task is of another run than the site agreed to, or the policy refuses the run.
    """
    if task.config_digest != run.config_digest:
        raise PolicyRefusal("the task's config digest is not that of the run this site agreed to")
    guard.policy.enforce(run)


def _let_out(records: RecordDict, guard: Guard, run: RunRequest, round_number: int) -> None:
    releases = listed(records, OF_A_ROUND, arrays=UPDATE)
    _check_task(records, run, round_number)
    update = ArrayPlan.of(arrays_from_record(records.array_records[UPDATE])) if UPDATE in records else None
    least_cell = run.config.evaluation.least_group if {STATISTICS, GROUPS} & records.keys() else None
    guard.policy.enforce(ReleaseRequest(releases=tuple(releases.values()), arrays=update, least_cell=least_cell))
    for release in releases.values():
        if release.mechanism.costs_privacy:
            _settle(release, guard.ledger, run=run.config_digest, round_number=round_number)


def _check_task(records: RecordDict, run: RunRequest, round_number: int) -> None:
    if SITE not in records:
        return
    named = records.config_records[SITE]
    if named.get(ROUND_FIELD, round_number) != round_number or named.get(RUN_FIELD, run.config_digest) != (
        run.config_digest
    ):
        raise PolicyRefusal("the reply names another round or run than its task")


def _settle(release: Release, ledger: Ledger | None, *, run: str, round_number: int) -> None:
    if ledger is None or release.event is None or release.ledger_entry is None:
        raise PolicyRefusal(f"{release.name!r} costs privacy, and no ledger entry pays for it")
    ledger.settle(release.ledger_entry, run=run, round_number=round_number, release=release.name, event=release.event)
