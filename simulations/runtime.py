"""The in-process runtime: Flower's `Grid` over worker threads, calling the same ClientApp as a deployment does.

A message is answered by the next free worker. A worker that has not answered when its message's time to live is over
is left to itself, a daemon thread, and replaced: one silent site cannot hold up the others.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from simulations.memory import keep_freed_memory

SERVER_NODE = 1
FIRST_NODE = 2
RAISED = 2
LONGEST_PULL_SECONDS = 0.05
_log = logging.getLogger("wardround")

Handler = Callable[[Message, Context], Message | None]
"""A ClientApp, or an attack around one; None is a site that never answers."""


@dataclass
class _Job:
    message: Message
    worker: threading.Thread | None = None

    @property
    def is_over(self) -> bool:
        metadata = self.message.metadata
        return time.time() > metadata.created_at + metadata.ttl


class InProcessGrid(Grid):
    """A grid whose nodes are functions in this process.

    Args:
        handlers: What answers each node's messages; its position is the node's `partition-id`, as in Flower's
            own simulation.
        num_workers: Messages that are answered at the same time, each on one torch thread.
    """

    def __init__(self, handlers: Sequence[Handler], *, num_workers: int) -> None:
        self._handlers = {FIRST_NODE + position: handler for position, handler in enumerate(handlers)}
        self._contexts = {
            node: Context(0, node, {"partition-id": node - FIRST_NODE}, RecordDict(), {}) for node in self._handlers
        }
        self._jobs: dict[str, _Job] = {}
        self._replies: dict[str, Message] = {}
        self._todo: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._news = threading.Condition()
        self._numbers = itertools.count()
        self._num_workers = num_workers
        for _ in range(num_workers):
            self._hire()

    def close(self) -> None:
        """Let the workers end when they are done."""
        for _ in range(self._num_workers):
            self._todo.put(None)

    def set_run(self, run: Run) -> None:
        """Flower's runtimes tell which run this is; here there is one."""

    @property
    def run(self) -> Run:
        """The one run of this process."""
        return Run.create_empty(0)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return tuple(self._handlers)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the workers and return their ids."""
        ids = []
        for message in messages:
            name = str(next(self._numbers))
            message.metadata.__dict__["_message_id"] = name
            self._jobs[name] = _Job(message)
            self._todo.put(name)
            ids.append(name)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there, each once; where there is none, the first that comes in a moment."""
        self._replace_overdue_workers()
        names = list(message_ids)
        with self._news:
            self._news.wait_for(lambda: any(name in self._replies for name in names), timeout=LONGEST_PULL_SECONDS)
            return [self._replies.pop(name) for name in names if name in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, then pull until all replies are there or the timeout is over."""
        waiting = set(self.push_messages(messages))
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        replies: list[Message] = []
        while waiting and time.monotonic() < deadline:
            found = list(self.pull_messages(waiting))
            waiting -= {reply.metadata.reply_to_message_id for reply in found}
            replies += found
        return replies

    def _hire(self) -> None:
        threading.Thread(target=self._work, name="wardround-worker", daemon=True).start()

    def _replace_overdue_workers(self) -> None:
        with self._news:
            overdue = [name for name, job in self._jobs.items() if job.worker is not None and job.is_over]
            for name in overdue:
                del self._jobs[name]
                self._hire()

    def _work(self) -> None:
        torch.set_num_threads(1)
        while (name := self._todo.get()) is not None:
            job = self._jobs[name]
            if job.is_over:
                with self._news:
                    del self._jobs[name]
                continue
            job.worker = threading.current_thread()
            reply = self._answer(job.message)
            with self._news:
                if self._jobs.pop(name, None) is None:
                    return  # overdue: another worker has taken this one's place
                if reply is not None:
                    self._replies[name] = reply
                    self._news.notify()

    def _answer(self, message: Message) -> Message | None:
        node = message.metadata.dst_node_id
        try:
            return self._handlers[node](message, self._contexts[node])
        except Exception:  # as Flower does: whatever a site raises becomes an error reply
            _log.warning("site %d of this simulation raised", node - FIRST_NODE, exc_info=True)
            return Message(Error(RAISED, "raised"), reply_to=message)


def be_the_server() -> None:
    """Let this process make messages: they read three process-wide numbers that Flower's own runtimes set."""
    TaskIdentity.task_id = TaskIdentity.run_id = 0
    TaskIdentity.node_id = SERVER_NODE


def run_in_process(app: ServerApp, handlers: Sequence[Handler], *, num_workers: int) -> None:
    """Run a ServerApp against sites in this process.

    Args:
        app: The server.
        handlers: What answers each site's messages.
        num_workers: Sites that work at the same time.
    """
    keep_freed_memory()
    be_the_server()
    grid = InProcessGrid(handlers, num_workers=num_workers)
    try:
        app(grid, Context(0, SERVER_NODE, {}, RecordDict(), {}))
    finally:
        grid.close()
