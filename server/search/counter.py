"""Where hospitals bring their questions: `POST /v1/search` over TLS, a sealed question in, a sealed answer out.

Nothing of a question is believed before its seal was checked with the key of the member that it names. It is taken
once, in its few minutes, and waits in a short queue for the one who passes questions on (`session.py`).

| status | when |
| --- | --- |
| 200 | the sealed answer |
| 403 | nobody of that name is a member now, or the seal, the time or the number does not hold |
| 404, 405 | another path or method |
| 413 | longer than any question |
| 503 | too many questions wait, or the session has ended |
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from common.errors import TrustError
from common.search.question import LIFE, MOST_BYTES, Question, read_question, who_asks
from common.trust.keys import PublicKey

PATH = "/v1/search"
MOST_WAITING = 32

Members = Callable[[], Mapping[str, PublicKey]]
"""The signing keys of the members of now, by name."""

_REFUSED, _TOO_LONG, _BUSY = 403, 413, 503
_log = logging.getLogger("wardround.search")


@dataclass(frozen=True)
class Waiting:
    """A question that waits to be passed on.

    Attributes:
        question: What is asked.
        sealed: As the hospital sealed it.
        key: Its key, in hexadecimal.
        answer: The sealed answer, once there is one.
    """

    question: Question
    sealed: bytes
    key: str
    answer: Future[bytes] = field(default_factory=Future)


class Counter:
    """Takes questions, on any thread.

    Args:
        members: Who may ask.
        now: The time.
    """

    def __init__(self, members: Members, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._members = members
        self._now = now
        self._waiting: queue.Queue[Waiting] = queue.Queue(MOST_WAITING)
        self._seen: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def application(self) -> Starlette:
        """What answers at the port."""
        return Starlette(routes=[Route(PATH, self._answered, methods=["POST"])])

    def next(self, *, within_seconds: float) -> Waiting | None:
        """The question that has waited longest; None where none comes soon."""
        try:
            return self._waiting.get(timeout=within_seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Turn away whoever waits."""
        while (waiting := self.next(within_seconds=0.001)) is not None:
            waiting.answer.cancel()

    def take(self, sealed: bytes) -> Waiting:
        """Check a member's question, and have it wait; it counts as asked from now on.

        Raises:
            TrustError: It does not hold.
            queue.Full: Too many wait.
        """
        members = self._members()
        asker = who_asks(sealed)
        if asker not in members:
            raise TrustError(f"{asker}: is no member of this consortium now")
        key = members[asker]
        question, now = read_question(sealed, key), self._now()
        question.check_time(now)
        with self._lock:
            self._seen = {number: seen for number, seen in self._seen.items() if now - seen <= 2 * LIFE}
            if question.number in self._seen:
                raise TrustError(f"{asker}: sent a question again")
            self._seen[question.number] = now
        waiting = Waiting(question, sealed, key.hex)
        self._waiting.put_nowait(waiting)
        return waiting

    async def _answered(self, request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                return Response(status_code=_TOO_LONG)
        try:
            waiting = self.take(bytes(body))
        except TrustError as error:
            _log.warning("question refused: %s", error)
            return Response(status_code=_REFUSED)
        except queue.Full:
            return Response(status_code=_BUSY)
        try:
            return Response(await asyncio.wrap_future(waiting.answer), media_type="application/json")
        except (CancelledError, asyncio.CancelledError):
            return Response(status_code=_BUSY)
