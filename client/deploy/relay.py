"""The relay: takes each message from the SuperNode, has the worker answer it, and hands the reply back.

It stands where `flower-superexec` and `flwr-clientapp` would, as one thread instead of a process a message, and without
what those do with the server's code: a bundle is hashed, and the hash is all that the worker gets of it.

One message at a time. Whatever happens, a message that was taken is answered: with the worker's reply, with a reason
code, or by starting the SuperNode again. Without an answer it would wait for one for ever (Flower 1.41).

| what happens | what the relay does |
| --- | --- |
| the worker dies, does not start, or takes longer than the message lives | an error reply, reason `worker` |
| the message's content is malformed | an error reply, reason `malformed` |
| the server stopped the run | hands the reply over; the SuperNode finds that nobody wants it |
| the SuperNode dies | waits for its next life; the server's deadline ends the round |
| the SuperNode takes no reply | has it started again |
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

import httpx
from flwr.app import Message

from client.deploy.message_bytes import RAISED, WORKER, error_reply, without_text
from client.deploy.runtime_api import ClaimedTask, Question, RuntimeApi
from client.deploy.supernode import Endpoint
from client.deploy.worker_client import WorkerClient, WorkerGone
from common.wire.preparing import PREPARING, preparing_of

POLL_SECONDS = 1.0
"""How often the SuperNode is asked when its log says nothing; a line of its log is a reason to ask at once."""

ANSWERED = ""
"""In the place of a reason: the message was answered."""

_MALFORMED = "malformed"
_LEAST_SECONDS = 1.0
_RETRY_SECONDS = 0.2
_log = logging.getLogger("wardround.relay")


class Relay:
    """A thread between SuperNode and worker.

    Args:
        endpoint: Where the SuperNode's Runtime API is now; None while it is not known.
        secret: What the SuperNode was started with.
        activity: Set when the SuperNode may have something.
        worker: Whom to ask.
        give_up: Starts a SuperNode again that cannot be answered.
    """

    def __init__(
        self,
        *,
        endpoint: Callable[[], Endpoint | None],
        secret: bytes,
        activity: threading.Event,
        worker: WorkerClient,
        give_up: Callable[[Endpoint], None],
    ) -> None:
        self._endpoint = endpoint
        self._secret = secret
        self._activity = activity
        self._worker = worker
        self._give_up = give_up
        self.answers: Counter[str] = Counter()
        """Messages so far: by the reason of a refusal, and under `ANSWERED` where there was none."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, *, within_seconds: float) -> None:
        """End; a message that is being answered is left to end with the process."""
        self._end.set()
        self._activity.set()
        self._thread.join(within_seconds)

    def _run(self) -> None:
        while not self._end.is_set():
            endpoint = self._endpoint()
            if endpoint is not None:
                try:
                    self._serve(endpoint)
                except Exception:
                    _log.exception("the relay failed; it goes on")
            self._end.wait(_RETRY_SECONDS)

    def _serve(self, endpoint: Endpoint) -> None:
        """Relay for one life of the SuperNode."""
        with RuntimeApi(endpoint.address, self._secret) as api:
            while not self._end.is_set() and self._endpoint() == endpoint:
                self._activity.clear()
                try:
                    token = api.acquire()
                except httpx.TransportError:
                    return  # it is starting, or gone
                except httpx.HTTPStatusError as error:
                    _log.error("the SuperNode refuses the agent (HTTP %d)", error.response.status_code)
                    return
                if token is None:
                    self._activity.wait(POLL_SECONDS)
                    continue
                if not self._answered(api, token):
                    self._give_up(endpoint)
                    return

    def _answered(self, api: RuntimeApi, token: str) -> bool:
        """Whether the SuperNode got a reply. If not, it waits for one that will not come, whatever went wrong."""
        try:
            with api.open(token) as task:
                self._relay(task)
        except httpx.TransportError as error:
            _log.warning("the SuperNode was lost with a message (%s)", type(error).__name__)
            return False
        except Exception:
            _log.exception("a message could not be answered; the SuperNode is started again")
            return False
        return True

    def _relay(self, task: ClaimedTask) -> None:
        begin = time.monotonic()
        question = task.question()
        reply, reason = self._reply(task, question)
        if not task.push(reply, question):
            _log.info("the run has ended meanwhile: nobody wants this answer")
        task.finish(reason=reason)
        self.answers[_counted_as(reply)] += 1
        metadata = question.message.metadata
        _log.info(
            "answered %s of run %d, round %s, in %.2f s%s",
            metadata.message_type,
            metadata.run_id,
            metadata.group_id or "-",
            time.monotonic() - begin,
            f", reason {reason}" if reason else "",
        )

    def _reply(self, task: ClaimedTask, question: Question) -> tuple[Message, str]:
        """The reply, and the reason code where the task failed for the SuperNode too."""
        try:
            message = task.pull(question, within_seconds=seconds_left(question.message))
        except httpx.HTTPError:
            raise
        except Exception as error:
            _log.error("a message is malformed (%s)", type(error).__name__)
            return error_reply(question.message, _MALFORMED), _MALFORMED
        try:
            reply = self._worker.ask(question.bundle_hash, message, within_seconds=seconds_left(message))
        except WorkerGone as error:
            _log.error("%s", error)
            return error_reply(message, WORKER), WORKER
        if reply.metadata.reply_to_message_id != message.metadata.message_id:
            _log.error("the worker answered another message")
            return error_reply(message, WORKER), WORKER
        return without_text(reply, message), ""


def _counted_as(reply: Message) -> str:
    """What a reply counts as: its reason, without how far a preparation is."""
    if not reply.has_error():
        return ANSWERED
    reason = reply.error.reason or RAISED
    return PREPARING if preparing_of(reason) is not None else reason


def seconds_left(message: Message) -> float:
    """How long the server still waits for a reply: what is left of the message's life, and a second at least.

    By the clocks of two machines, which Flower does not let be far apart: it signs the time of each call.
    """
    return max(_LEAST_SECONDS, message.metadata.created_at + message.metadata.ttl - time.time())
