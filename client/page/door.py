"""Who comes in to the page, and no page of another origin.

The page listens on loopback, where every program of this machine and every page in its browser can knock. So

1. a request names as its host what the page is called, else a name that was bent to loopback (DNS rebinding) would
   read the page;
2. who asks is let in by the one way that was chosen: the link that is printed (`client/page/link.py`), or the
   hospital's reverse proxy (`client/page/portal.py`); otherwise nothing is shown;
3. a request that asks for something (`POST`) comes from this page's own origin, and holds the token of its form, which
   is another for each user;
4. a body is no longer than a picture may be.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 64 << 20

FORBIDDEN = 403
_TOO_LONG = 413
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class WayIn(Protocol):
    """How people come in."""

    @property
    def origins(self) -> Mapping[str, str]:
        """The page's hosts as a browser names them, each with its origin."""
        ...

    def admit(self, request: Request) -> str | Response:
        """Who asks, "" where that is not told; or what is answered to one who is not let in, or on the way."""
        ...


class FormTokens:
    """What stands in the forms of one page that is served: each user's own, of no use to another; none outlives it."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, user: str) -> str:
        """A user's."""
        return hmac.new(self._key, user.encode(), hashlib.sha256).hexdigest()

    def holds(self, token: object, user: str) -> bool:
        """Whether a form's token is that of the user who sent it."""
        return isinstance(token, str) and is_same(token, self.of(user))


class Door:
    """Lets requests through to the page, with the user's name as `request.user`, or says why not.

    Args:
        page: What answers inside.
        way: How people come in.
        policy: The page's content security policy.
    """

    def __init__(self, page: ASGIApp, way: WayIn, *, policy: str) -> None:
        self._page = page
        self._way = way
        self._headers = {**_HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        request = Request(scope)
        found = self._refused_by_origin(request) or self._way.admit(request)
        if isinstance(found, Response):
            await found(scope, receive, send_guarded)
            return
        body = await _body(request.headers, receive)
        if body is None:
            await PlainTextResponse(_TOO_LONG_WORDS, _TOO_LONG)(scope, receive, send_guarded)
            return
        await self._page({**scope, "user": found}, _again(body, receive), send_guarded)

    def _refused_by_origin(self, request: Request) -> Response | None:
        headers = request.headers
        origin = self._way.origins.get(headers["host"]) if len(headers.getlist("host")) == 1 else None
        if origin is None:
            return PlainTextResponse("This page answers by the address that was printed, and by no other.", FORBIDDEN)
        is_asking = request.method not in {"GET", "HEAD"}
        # A browser names the origin of every POST; of a GET, whose answer no other origin can read, it need not.
        came_from = headers.get("origin", "" if is_asking else origin)
        is_foreign = is_asking and headers.get("sec-fetch-site", "same-origin") != "same-origin"
        if came_from != origin or is_foreign:
            return PlainTextResponse("This was asked by a page of another origin; nothing was done.", FORBIDDEN)
        return None


_TOO_LONG_WORDS = f"What was sent is longer than {MOST_BODY_BYTES >> 20} MB; send a smaller picture."


def is_same(given: str, kept: str) -> bool:
    """Whether a secret that was given is the one that is kept; how long it takes does not tell where they differ."""
    return hmac.compare_digest(given.encode(), kept.encode())


async def _body(headers: Headers, receive: Receive) -> bytes | None:
    """The whole body; None where it is longer than it may be, whatever was declared."""
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > MOST_BODY_BYTES:
        return None
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BODY_BYTES:
            return None
    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read, and then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
