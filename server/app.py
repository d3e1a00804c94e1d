"""The server as a Flower ServerApp, and the transport that carries its tasks over Flower's grid."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from flwr.app import Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from common.errors import AdmissionError, PairKeyError
from common.search.answer import SiteAnswer, check_site_answer
from common.search.question import Question
from common.wire.evidence import with_evidence
from common.wire.flower import Reply, Task, reply_from_records, task_to_records
from common.wire.flower_arrays import arrays_to_record
from common.wire.preparing import PREPARING, preparing_of
from common.wire.searching import QUESTION_TYPE, answer_from_records, question_to_records
from common.wire.update import ArrayPlan, NamedArrays
from server.federation import Federation
from server.messages import keep_evidence, opened, pushed
from server.recorder import GREETING_ROUND, Recorder
from server.roll_call import Names, RollCall
from server.setup import Setup
from server.transport import OFFLINE, Answer, Wait
from server.waiting import Pace

LATE_SECONDS = 2.0
"""A task outlives its deadline: Flower cannot tell one that has expired from one whose node was lost."""

WATCH_SECONDS = 1.0
"""How often a watcher is told who is there."""


def build_server_app(setup: Setup) -> ServerApp:
    """A ServerApp that runs one federation; `setup.state` holds the result when it returns."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
        Federation(setup, GridTransport(grid, recorder=setup.recorder)).run()

    return app


class GridTransport:
    """Tasks and answers over a Flower grid, in process or deployed.

    A node that comes while a round is on is asked who it is along with the round's tasks, so that it delays nobody, and
    takes part from the next round on.

    Args:
        grid: Flower's grid.
        recorder: Who keeps the evidence.
        names: As `RollCall` has them.
    """

    def __init__(self, grid: Grid, *, recorder: Recorder, names: Names | None = None) -> None:
        self._grid = grid
        self._recorder = recorder
        self._roll = RollCall(grid, recorder, names)
        self._next_look = 0.0

    def meet(self, wait: Wait) -> dict[str, str]:
        """See `Transport`; waits for the answers of all nodes that are there."""
        pace = Pace(wait.deadline_seconds)
        self._roll.greet(wait.deadline_seconds)
        while self._roll.awaited and not pace.is_over:
            self._show_presence(wait)
            pace.rest(found=self._listen())
        return self._arrivals(wait, pace)

    def arrivals(self, wait: Wait) -> dict[str, str]:
        """See `Transport`."""
        self._listen()
        return self._arrivals(wait, Pace(wait.deadline_seconds))

    def _arrivals(self, wait: Wait, pace: Pace) -> dict[str, str]:
        longest = Pace(max(wait.deadline_seconds, wait.patience_seconds))
        self._roll.take_in()
        while not self._is_over(wait, pace, longest):
            self._show_presence(wait)
            self._roll.greet(wait.deadline_seconds)
            longest.rest(found=self._listen())
            self._roll.take_in()
        wait.watch(self._roll.presence())
        return self._roll.arrivals()

    def _is_over(self, wait: Wait, pace: Pace, longest: Pace) -> bool:
        num_here = self.num_here(apart=wait.apart)
        if num_here >= wait.wanted or longest.is_over:
            return True
        return pace.is_over and num_here >= wait.needed and not self._roll.someone_prepares()

    def _show_presence(self, wait: Wait) -> None:
        """Tell the watcher who is there, once a second: it is asked of Flower's server."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + WATCH_SECONDS
            wait.watch(self._roll.presence())

    def num_here(self, *, apart: Collection[str] = frozenset()) -> int:
        """See `Transport`."""
        return len(self._roll.here(site for site in self._roll.met if site not in apart))

    def present(self, sites: tuple[str, ...]) -> tuple[str, ...]:
        """See `Transport`."""
        return tuple(self._roll.here(sites))

    def ask(
        self, task: Task, model: NamedArrays, plan: ArrayPlan, *, sites: tuple[str, ...], deadline_seconds: float
    ) -> Iterator[Answer]:
        """See `Transport`. The model is encoded once for all sites."""
        here = self._roll.here(sites)
        records = task_to_records(replace(task, pair_keys=self._roll.pair_keys(here)), arrays_to_record(model))
        waiting = self._push(MessageType.TRAIN, records, here, deadline_seconds)
        self._roll.greet(deadline_seconds)
        asked = set(waiting.values())
        yield from (Answer(site, None, OFFLINE) for site in sites if site not in asked)
        for site, message in self._replies(waiting, deadline_seconds):
            try:
                yield Answer(site, self._decoded(site, message, task, plan))
            except AdmissionError as error:
                reason = str(error)
                if reason == PairKeyError.reason:
                    # A process that was started anew has another key: it is asked who it is once more.
                    self._roll.forget(site)
                    self._roll.greet(deadline_seconds)
                yield Answer(site, None, reason if preparing_of(reason) is None else PREPARING)

    def _decoded(self, site: str, message: Message, task: Task, plan: ArrayPlan) -> Reply:
        """The reply in a message, its evidence checked.

        Raises:
            AdmissionError: With the reason code.
        """
        records, evidence = opened(message)
        reply = reply_from_records(records, plan)
        keep_evidence(self._recorder, site, evidence, records, round_number=task.round_number)
        return reply

    def look_around(self, *, seconds: float) -> None:
        """Meet who came since the last look; nobody is waited for.

        Args:
            seconds: How long a node may take to say who it is; it is heard at a later look.
        """
        self._roll.greet(seconds)
        self._listen()
        self._roll.take_in()

    def pass_on(
        self, question: Question, sealed: bytes, *, key: str, sites: Collection[str], deadline_seconds: float
    ) -> Iterator[tuple[str, SiteAnswer | str]]:
        """What sites answer to a hospital's question, as it comes: their answer, or the reason why there is none.

        Args:
            question: What is asked.
            sealed: The same, as the hospital sealed it.
            key: The public key that it sealed it with, in hexadecimal.
            sites: Who is asked.
            deadline_seconds: How long they may take; who has not answered then is not told of.
        """
        here = self._roll.here(sites)
        self._recorder.question_passed(question, public_key=key, sites=here)
        waiting = self._push(QUESTION_TYPE, question_to_records(sealed, key=key), here, deadline_seconds)
        asked = set(waiting.values())
        yield from ((site, OFFLINE) for site in sites if site not in asked)
        for site, message in self._replies(waiting, deadline_seconds):
            try:
                yield site, self._found(site, message, question)
            except AdmissionError as error:
                yield site, str(error)

    def _found(self, site: str, message: Message, question: Question) -> SiteAnswer:
        """A site's answer to a question, its evidence checked.

        Raises:
            AdmissionError: With the reason code.
        """
        records, evidence = opened(message)
        answer = answer_from_records(records)
        keep_evidence(self._recorder, site, evidence, records, round_number=GREETING_ROUND)
        check_site_answer(answer, question=question.digest, most=question.most)
        return answer

    def _push(self, kind: str, records: RecordDict, sites: Iterable[str], seconds: float) -> dict[str, str]:
        """Send the same records to sites, each with the evidence for it; who each reply is from, by its name."""
        messages = {
            site: Message(
                with_evidence(RecordDict({**records}), self._recorder.evidence_for(site)),
                self._roll.node_of(site),
                kind,
                ttl=seconds + LATE_SECONDS,
            )
            for site in sites
        }
        return pushed(self._grid, messages)

    def _listen(self) -> bool:
        """Take the answers of nodes that say who they are; whether there was one."""
        before = self._roll.awaited
        self._pull(())
        return len(self._roll.awaited) < len(before)

    def _pull(self, wanted: Iterable[str]) -> list[Message]:
        """The replies to messages that are there now; who says who it is is left to the roll call.

        A lost node's error reply names no node, so replies are matched by the message they answer.
        """
        names = [*wanted, *self._roll.awaited]
        return [reply for reply in self._grid.pull_messages(names) if not self._roll.takes(reply)] if names else []

    def _replies(self, waiting: dict[str, str], seconds: float) -> Iterator[tuple[str, Message]]:
        """Site and reply as they come, within the deadline."""
        pace = Pace(seconds)
        while waiting and not pace.is_over:
            replies = self._pull(waiting)
            for reply in replies:
                site = waiting.pop(reply.metadata.reply_to_message_id, None)
                if site is not None:
                    yield site, reply
            pace.rest(found=bool(replies))
