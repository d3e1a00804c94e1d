"""What of Flower's server the sites may reach: the ten paths that a site's node calls, and `/health`; all else is 404.

Flower serves three APIs from one application. One of them starts code at every site and has no authentication of its
own, so the listener that faces the network passes on what is in a list and nothing else: a new path of a later Flower
is closed until somebody opens it here. Left out of the Fleet API are `register-node` and `unregister-node`, for the
centre registers sites (`server/deploy/nodes.py`); Flower refuses both where nodes are authenticated, and this is a
second lock.

A path has to be written as it is, without percent-encoding, doubled slash or `..`: there is one spelling of each, and
no two layers read it differently. A body is read here, whole, before Flower sees any of it: its size and the time that
it takes are bounded for senders whose key nobody has checked yet, and Flower would hold all of it anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""ASGI 3.0 (asgi.readthedocs.io)."""

FLEET_PATHS = frozenset(
    f"/v1/fleet/{call}"
    for call in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
"""What `flower-supernode` of flwr 1.41 calls with a node key."""

OPEN = frozenset({("GET", "/health"), *(("POST", path) for path in FLEET_PATHS)})
"""Method and path of what is passed on."""

MOST_BODY_BYTES = 16 << 20
"""A site sends parts of 512 KiB (`common/wire/objects.py`), an older one of 5 MiB; a bundle goes the other way."""

BODY_SECONDS = 120.0
"""Two parts of 512 KiB at a time over a line of 9 kB/s."""

_NOT_FOUND, _TIMEOUT, _TOO_LARGE = 404, 408, 413

_log = logging.getLogger("wardround.sites")


class SitesOnly:
    """Passes on what sites may ask, and answers the rest itself, with an empty body.

    Args:
        application: Flower's.
        most_body_bytes: Longest body of a request.
        body_seconds: Longest time from a request's head to the end of its body.
    """

    def __init__(
        self, application: Application, *, most_body_bytes: int = MOST_BODY_BYTES, body_seconds: float = BODY_SECONDS
    ) -> None:
        self._application = application
        self._most_body_bytes = most_body_bytes
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return  # a listener without a lifespan of its own has nothing to start
        if not is_open(scope):
            _log.info("refused %r", f"{scope['method']} {scope['path']}"[:200])
            await _answer(send, _NOT_FOUND)
            return
        try:
            async with asyncio.timeout(self._body_seconds):
                body = await self._body(receive)
        except TimeoutError:
            await _answer(send, _TIMEOUT)
            return
        if body is None:
            await _answer(send, _TOO_LARGE)
            return
        await self._application(scope, _replay(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | None:
        """All of a body; None where it is too long."""
        body = bytearray()
        more = True
        while more:
            event = await receive()
            body += event.get("body", b"")
            if len(body) > self._most_body_bytes:
                return None
            # A sender that went away leaves a part: Flower finds that it is no message.
            more = event["type"] == "http.request" and event.get("more_body", False)
        return bytes(body)


def is_open(scope: Scope) -> bool:
    """Whether a request is one that sites may make."""
    path = scope["path"]
    plain = scope.get("raw_path") in (None, path.encode()) and not scope.get("root_path")
    return plain and (scope["method"], path) in OPEN


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what comes."""
    events = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replayed() -> Event:
        event = next(events, None)
        return await receive() if event is None else event

    return replayed


async def _answer(send: Send, status: int) -> None:
    """An answer without a body. The connection ends with it: what is left of the request is not waited for."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
