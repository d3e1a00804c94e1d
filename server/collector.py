"""One round's answers: sites are asked, each reply is checked, and what is admitted or dropped goes into the log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import chain
from typing import Any

from common.errors import AdmissionError
from common.wire.flower import Reply, Task
from common.wire.update import ArrayPlan
from server.admission import Admission
from server.rounds import LATE, Round
from server.setup import Setup
from server.transport import OFFLINE, Answer, Transport


class Collector:
    """Asks for answers, and checks them.

    Args:
        setup: What the run is given.
        transport: How sites are reached.
        admission: What a reply must be.
        plan: Arrays of an update.
    """

    def __init__(self, setup: Setup, transport: Transport, admission: Admission, plan: ArrayPlan) -> None:
        self._setup = setup
        self._state = setup.state
        self._recorder = setup.recorder
        self._transport = transport
        self._admission = admission
        self._plan = plan

    def collect(
        self, number: int, accept: Callable[[Reply, str], None], *, sites: tuple[str, ...], train: bool
    ) -> Round:
        """Ask sites for an update, or to measure alone, until all have answered or the deadline has passed.

        What they tell of held-out patients is in the run's state then.

        Args:
            number: The round.
            accept: Takes in an admitted reply; what it refuses, as an `AdmissionError`, is dropped.
            sites: Who is asked.
            train: Whether they train.
        """
        federation = self._setup.config.federation
        round_ = Round(
            sites,
            quorum=federation.quorum,
            opened_at=time.monotonic(),
            deadline_seconds=federation.deadline_seconds,
        )
        task = Task(round_number=number, config_digest=self._state.config_digest, train=train)
        self._setup.observer.round_opened(number, sites)
        # Whoever comes now is asked from the next round on: the log would not name it among those of this one.
        here = self._transport.present(sites)
        self._recorder.round_opened(number, here, self._state.arrays["model"])
        answers = self._transport.ask(
            task, self._state.arrays["model"], self._plan, sites=here, deadline_seconds=federation.deadline_seconds
        )
        statistics: dict[str, dict[str, Any]] = {}
        for answer in chain((Answer(site, None, OFFLINE) for site in sites if site not in here), answers):
            if answer.site not in round_.waiting:
                continue  # not even looked at: a second answer must not overwrite an admitted update
            problem = self._refusal(answer, task)
            if answer.reply is not None and problem is None:
                if answer.reply.statistics is not None:
                    statistics[answer.site] = answer.reply.statistics
                if answer.reply.groups is not None:
                    self._state.groups[answer.site] = list(answer.reply.groups)
                self._state.sites[answer.site].ledger_head = answer.reply.ledger_head
                problem = _reason(accept, answer.reply, answer.site)
            if problem is None:
                round_.admit(answer.site)
                if train:
                    self._recorder.update_admitted(number, answer.site)
            else:
                round_.drop(answer.site, problem)
                self._recorder.update_dropped(number, answer.site, problem)
            self._setup.observer.site_answered(answer.site, problem)
        for site in round_.waiting:
            self._recorder.update_dropped(number, site, LATE)
            self._setup.observer.site_answered(site, LATE)
        round_.tick(math.inf)
        self._state.note_statistics(statistics)
        return round_

    def _refusal(self, answer: Answer, task: Task) -> str | None:
        """The reason why nothing of an answer is used; None where it can be."""
        if answer.reply is None:
            return answer.problem or "malformed"
        return _reason(self._admission.check_reply, answer.reply, site=answer.site, task=task)


def _reason(check: Callable[..., object], *arguments: object, **options: object) -> str | None:
    """The reason for which a check refuses; None where it passes."""
    try:
        check(*arguments, **options)
    except AdmissionError as error:
        return str(error)
    return None
