"""The server as a Flower ServerApp, and the transport that carries its tasks over Flower's grid."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

from flwr.app import ArrayRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from common.errors import AdmissionError, EvidenceError, PairKeyError
from common.evidence.exchange import Evidence
from common.pair_noise.keys import PairStatement
from common.search.answer import SiteAnswer, check_site_answer
from common.search.question import Question
from common.wire.evidence import evidence_of, released_in, with_evidence, without_evidence
from common.wire.flower import Reply, Task, hello_from_records, hello_to_records, reply_from_records, task_to_records
from common.wire.flower_arrays import arrays_to_record
from common.wire.preparing import PREPARING, preparing_of
from common.wire.searching import QUESTION_TYPE, answer_from_records, question_to_records
from common.wire.update import ArrayPlan, NamedArrays
from server.federation import Federation, Setup
from server.recorder import GREETING_ROUND, Recorder
from server.transport import LOST, OFFLINE, Answer, Presence, Wait
from server.waiting import NotReady, Pace

LONGEST_REASON = 32

LATE_SECONDS = 2.0
"""A task outlives its deadline: Flower cannot tell one that has expired from one whose node was lost."""

WATCH_SECONDS = 1.0
"""How often a watcher is told who is there."""

LOST_CODES = frozenset({3, 4, 5})
"""Codes of the error replies that Flower's server writes in the place of a node, and that name no reason of ours."""

Key = TypeVar("Key", int, str)

Names: TypeAlias = Callable[[], Mapping[int, str]]
"""The nodes that are registered now, and the site of each."""

_LOGGER = logging.getLogger("wardround.server")


def build_server_app(setup: Setup) -> ServerApp:
    """A ServerApp that runs one federation; `setup.state` holds the result when it returns."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
        Federation(setup, GridTransport(grid, recorder=setup.recorder)).run()

    return app


class GridTransport:
    """Tasks and answers over a Flower grid, in process or deployed.

    A node is asked who it is before it is asked for anything else. One that comes while a round is on is asked along
    with the round's tasks, so that it delays nobody, and takes part from the next round on. One that is still preparing
    its studies is asked again every few seconds, one whose question was lost at once, and one that answered otherwise
    than with its name once a round, or in a long wait every half minute.

    Args:
        grid: Flower's grid.
        recorder: Who keeps the evidence.
        names: What the nodes are registered as; a node that says another name is refused, and one that is not
            registered is not even asked. None where a node's word is all there is, in a simulation.
    """

    def __init__(self, grid: Grid, *, recorder: Recorder, names: Names | None = None) -> None:
        self._grid = grid
        self._recorder = recorder
        self._names = names
        self._nodes: dict[str, int] = {}
        self._pair_keys: dict[str, PairStatement] = {}
        self._greetings: dict[str, tuple[int, float]] = {}
        self._answers: dict[int, Message] = {}
        self._not_ready: dict[int, NotReady] = {}
        self._arrived: dict[str, str] = {}
        self._next_look = 0.0

    def meet(self, wait: Wait) -> dict[str, str]:
        """See `Transport`; waits for the answers of all nodes that are there."""
        pace = Pace(wait.deadline_seconds)
        self._greet(wait.deadline_seconds)
        while self._greetings and not pace.is_over:
            self._show_presence(wait)
            pace.rest(found=self._listen())
        return self._arrivals(wait, pace)

    def arrivals(self, wait: Wait) -> dict[str, str]:
        """See `Transport`."""
        self._listen()
        return self._arrivals(wait, Pace(wait.deadline_seconds))

    def _arrivals(self, wait: Wait, pace: Pace) -> dict[str, str]:
        longest = Pace(max(wait.deadline_seconds, wait.patience_seconds))
        self._take_in_answers()
        while not self._is_over(wait, pace, longest):
            self._show_presence(wait)
            self._greet(wait.deadline_seconds)
            longest.rest(found=self._listen())
            self._take_in_answers()
        wait.watch(self._presence())
        self._not_ready = {node: said for node, said in self._not_ready.items() if said.is_preparing}
        arrived, self._arrived = self._arrived, {}
        return arrived

    def _is_over(self, wait: Wait, pace: Pace, longest: Pace) -> bool:
        num_here = self.num_here(apart=wait.apart)
        if num_here >= wait.wanted or longest.is_over:
            return True
        return pace.is_over and num_here >= wait.needed and not self._someone_prepares()

    def _someone_prepares(self) -> bool:
        present = frozenset(self._grid.get_node_ids())
        return any(said.is_preparing and node in present for node, said in self._not_ready.items())

    def _show_presence(self, wait: Wait) -> None:
        """Tell the watcher who is there, once a second: it is asked of Flower's server."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + WATCH_SECONDS
            wait.watch(self._presence())

    def _presence(self) -> Presence:
        names = {} if self._names is None else self._names()
        not_ready = {names[node]: said.reason for node, said in self._not_ready.items() if node in names}
        return Presence(tuple(sorted(self._here(self._nodes))), not_ready)

    def num_here(self, *, apart: Collection[str] = frozenset()) -> int:
        """See `Transport`."""
        return len(self._here(site for site in self._nodes if site not in apart))

    def present(self, sites: tuple[str, ...]) -> tuple[str, ...]:
        """See `Transport`."""
        return tuple(self._here(sites))

    def ask(
        self, task: Task, model: NamedArrays, plan: ArrayPlan, *, sites: tuple[str, ...], deadline_seconds: float
    ) -> Iterator[Answer]:
        """See `Transport`. The model is encoded once for all sites."""
        record, here = arrays_to_record(model), self._here(sites)
        keys = tuple(self._pair_keys[site] for site in here if site in self._pair_keys)
        task = replace(task, pair_keys=keys)
        messages = {site: self._task(task, record, site, deadline_seconds) for site in here}
        waiting = self._push(messages)
        self._greet(deadline_seconds)
        asked = set(waiting.values())
        yield from (Answer(site, None, OFFLINE) for site in sites if site not in asked)
        for site, message in self._replies(waiting, deadline_seconds):
            try:
                yield Answer(site, self._decoded(site, message, task, plan))
            except AdmissionError as error:
                reason = str(error)
                if reason == PairKeyError.reason:
                    # A process that was started anew has another key: it is asked who it is once more.
                    self._nodes.pop(site, None)
                    self._greet(deadline_seconds)
                yield Answer(site, None, reason if preparing_of(reason) is None else PREPARING)

    def _task(self, task: Task, model: ArrayRecord, site: str, seconds: float) -> Message:
        content = with_evidence(task_to_records(task, model), self._recorder.evidence_for(site))
        return Message(content, self._nodes[site], MessageType.TRAIN, ttl=seconds + LATE_SECONDS)

    def look_around(self, *, seconds: float) -> None:
        """Meet who came since the last look; nobody is waited for.

        Args:
            seconds: How long a node may take to say who it is; it is heard at a later look.
        """
        self._greet(seconds)
        self._listen()
        self._take_in_answers()

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
        here = self._here(sites)
        self._recorder.question_passed(question, public_key=key, sites=here)
        records = question_to_records(sealed, key=key)
        messages = {site: self._question(records, site, deadline_seconds) for site in here}
        waiting = self._push(messages)
        asked = set(waiting.values())
        yield from ((site, OFFLINE) for site in sites if site not in asked)
        for site, message in self._replies(waiting, deadline_seconds):
            try:
                yield site, self._found(site, message, question)
            except AdmissionError as error:
                yield site, str(error)

    def _question(self, records: RecordDict, site: str, seconds: float) -> Message:
        content = with_evidence(records, self._recorder.evidence_for(site))
        return Message(content, self._nodes[site], QUESTION_TYPE, ttl=seconds + LATE_SECONDS)

    def _found(self, site: str, message: Message, question: Question) -> SiteAnswer:
        """A site's answer to a question, its evidence checked.

        Raises:
            AdmissionError: With the reason code.
        """
        records = _content(message)
        evidence = _evidence(records)
        records = without_evidence(records)
        answer = answer_from_records(records)
        self._receive(site, evidence, records, round_number=GREETING_ROUND)
        check_site_answer(answer, question=question.digest, most=question.most)
        return answer

    def _decoded(self, site: str, message: Message, task: Task, plan: ArrayPlan) -> Reply:
        """The reply in a message, its evidence checked.

        Raises:
            AdmissionError: With the reason code.
        """
        records = _content(message)
        evidence = _evidence(records)
        records = without_evidence(records)
        reply = reply_from_records(records, plan)
        self._receive(site, evidence, records, round_number=task.round_number)
        return reply

    def _receive(self, site: str, evidence: Evidence | None, records: RecordDict, *, round_number: int) -> None:
        try:
            self._recorder.receive(site, evidence, partial(released_in, records), round_number=round_number)
        except EvidenceError as error:
            _LOGGER.warning("%s: round %d: evidence refused: %s", site, round_number, error)
            raise AdmissionError(EvidenceError.reason) from error

    def _here(self, sites: Iterable[str]) -> list[str]:
        """Those of some sites that were met and whose nodes are there."""
        present = frozenset(self._grid.get_node_ids())
        return [site for site in sites if self._nodes.get(site) in present]

    def _greet(self, seconds: float) -> None:
        """Ask each node who it is that was not met, is not being asked, and has not just said that it is not ready."""
        now = time.monotonic()
        self._greetings = {name: asked for name, asked in self._greetings.items() if asked[1] > now}
        asked = {node for node, _ in self._greetings.values()}
        resting = {node for node, said in self._not_ready.items() if said.ask_again_at > now}
        strangers = set(self._grid.get_node_ids()) - asked - resting - self._answers.keys()
        strangers -= set(self._nodes.values())
        registered: Mapping[int, str | None] = dict.fromkeys(strangers) if self._names is None else self._names()
        messages = {
            node: Message(
                with_evidence(hello_to_records(), self._recorder.greeting(registered[node])),
                node,
                MessageType.QUERY,
                ttl=seconds,
            )
            for node in sorted(strangers & registered.keys())
        }
        self._greetings |= {name: (node, now + seconds) for name, node in self._push(messages).items()}

    def _listen(self) -> bool:
        """Take the answers to greetings that are there; whether there was one."""
        before = len(self._answers)
        self._pull(())
        return len(self._answers) > before

    def _take_in_answers(self) -> None:
        """Meet the nodes that have answered, in their order: what came first by chance decides nothing."""
        for node, message in sorted(self._answers.items()):
            try:
                self._welcome(node, message)
                self._not_ready.pop(node, None)
            except AdmissionError as error:
                said = NotReady.of(str(error), now=time.monotonic())
                known = self._not_ready.get(node)
                if known is None or known.reason != said.reason:
                    _LOGGER.log(said.level, "node %d: is not ready: %s", node, said.reason)
                self._not_ready[node] = said
        self._answers.clear()

    def _welcome(self, node: int, message: Message) -> None:
        """Meet a node.

        Raises:
            AdmissionError: It does not say who it is, has another's name, or its evidence does not hold.
        """
        records = _content(message)
        hello = hello_from_records(records)
        site = hello.site
        if self._names is not None and self._names().get(node) != site:
            raise AdmissionError("name")
        if self._here((site,)):
            raise AdmissionError("name")
        self._receive(site, _evidence(records), records, round_number=GREETING_ROUND)
        self._nodes[site], self._arrived[site] = node, hello.patients_band
        self._pair_keys.pop(site, None)
        if hello.pair_key is not None:
            self._pair_keys[site] = hello.pair_key

    def _push(self, messages: Mapping[Key, Message]) -> dict[str, Key]:
        """Send messages; what each is for, by the name under which its reply comes.

        Flower gives no name to a message whose node is gone.
        """
        names = self._grid.push_messages(list(messages.values())) if messages else ()
        return {name: key for name, key in zip(names, messages, strict=True) if name}

    def _pull(self, wanted: Iterable[str]) -> list[Message]:
        """The replies to messages that are there now; answers who a node is are kept aside.

        A lost node's error reply names no node, so replies are matched by the message they answer.
        """
        names = [*wanted, *self._greetings]
        replies = []
        for reply in self._grid.pull_messages(names) if names else ():
            greeted = self._greetings.pop(reply.metadata.reply_to_message_id, None)
            if greeted is None:
                replies.append(reply)
            else:
                self._answers[greeted[0]] = reply
        return replies

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


def _content(message: Message) -> RecordDict:
    """The records of a reply.

    Raises:
        AdmissionError: It is an error reply; the site's reason code where it gives one.
    """
    if not message.has_error():
        return message.content
    if message.error.code in LOST_CODES:
        raise AdmissionError(LOST)
    reason = message.error.reason or "raised"
    is_code = reason.isidentifier() and len(reason) <= LONGEST_REASON and reason != OFFLINE
    raise AdmissionError(reason if is_code else "raised")


def _evidence(records: RecordDict) -> Evidence | None:
    """The evidence beside a reply.

    Raises:
        AdmissionError: It cannot be read.
    """
    try:
        return evidence_of(records)
    except EvidenceError as error:
        raise AdmissionError(EvidenceError.reason) from error
