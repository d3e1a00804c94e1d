"""The server as a Flower ServerApp, and the mailbox that carries its tasks over Flower's grid."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flwr.app import Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from common.errors import AdmissionError
from common.wire.flower import (
    Task,
    arrays_to_record,
    hello_from_records,
    hello_to_records,
    reply_from_records,
    task_to_records,
)
from common.wire.update import ArrayPlan, NamedArrays
from server.federation import Answer, Federation, Setup

SHORTEST_POLL_SECONDS = 0.001
LONGEST_POLL_SECONDS = 0.25
LONGEST_REASON = 32


def build_server_app(setup: Setup) -> ServerApp:
    """A ServerApp that runs one federation; `setup.state` holds the result when it returns."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
        Federation(setup, GridMailbox(grid)).run()

    return app


class GridMailbox:
    """Tasks and answers over a Flower grid, in process or deployed."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._nodes: dict[str, int] = {}

    def meet(self, *, deadline_seconds: float) -> dict[str, str]:
        """See `Mailbox`; a node that answers with a taken name is left out."""
        nodes = sorted(self._grid.get_node_ids())
        messages = {
            node: self._message(node, hello_to_records(), MessageType.QUERY, deadline_seconds) for node in nodes
        }
        answers = dict(self._replies(messages, deadline_seconds))
        bands: dict[str, str] = {}
        for node in sorted(answers):
            try:
                site, band = hello_from_records(_content(answers[node]))
            except AdmissionError:
                continue
            if site not in bands:
                bands[site], self._nodes[site] = band, node
        return bands

    def ask(
        self, task: Task, model: NamedArrays, plan: ArrayPlan, *, sites: tuple[str, ...], deadline_seconds: float
    ) -> Iterator[Answer]:
        """See `Mailbox`. The model is encoded once for all sites."""
        content = task_to_records(task, arrays_to_record(model))
        names = {self._nodes[site]: site for site in sites if site in self._nodes}
        messages = {node: self._message(node, content, MessageType.TRAIN, deadline_seconds) for node in names}
        for node, message in self._replies(messages, deadline_seconds):
            try:
                yield Answer(names[node], reply_from_records(_content(message), plan))
            except AdmissionError as error:
                yield Answer(names[node], None, str(error))

    def _message(self, node: int, content: RecordDict, kind: str, seconds: float) -> Message:
        return Message(content, node, kind, ttl=seconds)

    def _replies(self, messages: dict[int, Message], seconds: float) -> Iterator[tuple[int, Message]]:
        """Node and reply as they come, within the deadline; the wait between two looks grows while nothing comes.

        A lost node's error reply names no node, so replies are matched by the message they answer.
        """
        deadline = time.monotonic() + seconds
        ids = self._grid.push_messages(messages.values())
        waiting = dict(zip(ids, messages, strict=True))
        pause = SHORTEST_POLL_SECONDS
        while waiting and time.monotonic() < deadline:
            replies = list(self._grid.pull_messages(list(waiting)))
            for reply in replies:
                node = waiting.pop(reply.metadata.reply_to_message_id, None)
                if node is not None:
                    yield node, reply
            if replies:
                pause = SHORTEST_POLL_SECONDS
                continue
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 2, LONGEST_POLL_SECONDS)


def _content(message: Message) -> RecordDict:
    """The records of a reply.

    Raises:
        AdmissionError: It is an error reply; the site's reason code where it gives one.
    """
    if message.has_error():
        reason = message.error.reason or "raised"
        raise AdmissionError(reason if reason.isidentifier() and len(reason) <= LONGEST_REASON else "raised")
    return message.content
