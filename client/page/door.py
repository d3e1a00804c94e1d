"""Who comes in to the page: the browser that the one link was opened in, and no page of another origin.

The page listens on loopback, where every program of this machine and every page in its browser can knock. So

1. a request names this machine as its host, else a name that was bent to loopback (DNS rebinding) would read the page;
2. the link that is printed holds a token that opens once, and becomes a cookie which scripts cannot read and which is
   sent from no other site (`HttpOnly`, `SameSite=Strict`); without the cookie nothing is shown;
3. a request that asks for something (`POST`) comes from this page's own origin, and holds the token of its form;
4. a body is no longer than a picture may be.

A browser sends a cookie to every port of a host: a program of another user of this machine that the browser is led to
would get it. The page is for a machine, or a session on it, that is one person's.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from hmac import compare_digest

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.service.ports import LOOPBACK

ENTER = "/enter"
MOST_BODY_BYTES = 64 << 20

_FORBIDDEN, _TOO_LONG, _SEE_OTHER = 403, 413, 303
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(kw_only=True)
class Keys:
    """The secrets of one page that is served; none outlives it.

    Attributes:
        link: Opens once.
        cookie: What the link becomes.
        form: Stands in the page's own form.
        is_used: Whether the link was opened.
    """

    link: str = field(default_factory=_secret, repr=False)
    cookie: str = field(default_factory=_secret, repr=False)
    form: str = field(default_factory=_secret, repr=False)
    is_used: bool = False


class Door:
    """Lets requests through to the page, or says why not.

    Args:
        page: What answers inside.
        keys: Of this page.
        port: Where it listens.
        policy: Its content security policy.
    """

    def __init__(self, page: ASGIApp, keys: Keys, *, port: int, policy: str) -> None:
        self._page = page
        self._keys = keys
        self._hosts = frozenset(f"{name}:{port}" for name in (LOOPBACK, "localhost"))
        self._cookie = f"wardround-{port}"
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
        answer = self._refused_by_origin(request) or self._entered(request) or self._refused_by_cookie(request)
        if answer is None:
            body = await _body(request.headers, receive)
            if body is None:
                answer = PlainTextResponse(_TOO_LONG_WORDS, _TOO_LONG)
            else:
                receive = _again(body, receive)
        await (answer or self._page)(scope, receive, send_guarded)

    def _refused_by_origin(self, request: Request) -> Response | None:
        host, headers = request.headers.get("host", ""), request.headers
        if host not in self._hosts:
            return PlainTextResponse("This page answers by the address that was printed, and by no other.", _FORBIDDEN)
        is_asking = request.method not in {"GET", "HEAD"}
        # A browser names the origin of every POST; of a GET, whose answer no other origin can read, it need not.
        came_from = headers.get("origin", "" if is_asking else f"http://{host}")
        is_foreign = is_asking and headers.get("sec-fetch-site", "same-origin") != "same-origin"
        if came_from != f"http://{host}" or is_foreign:
            return PlainTextResponse("This was asked by a page of another origin; nothing was done.", _FORBIDDEN)
        return None

    def _entered(self, request: Request) -> Response | None:
        """The way in with the link, once."""
        if request.url.path != ENTER or request.method != "GET":
            return None
        if self._keys.is_used or not _same(request.query_params.get("token", ""), self._keys.link):
            # A second click in the browser that has the cookie is let in; another browser is told so.
            return self._refused_by_cookie(request) or RedirectResponse("/", _SEE_OTHER)
        self._keys.is_used = True
        answer = RedirectResponse("/", _SEE_OTHER)
        answer.set_cookie(self._cookie, self._keys.cookie, httponly=True, samesite="strict", path="/")
        return answer

    def _refused_by_cookie(self, request: Request) -> Response | None:
        if _same(request.cookies.get(self._cookie, ""), self._keys.cookie):
            return None
        return PlainTextResponse(
            "This page opens by the link that wardround site serve printed, once, in one browser. Was it opened "
            "elsewhere? Then end the command, start it again and open its new link.",
            _FORBIDDEN,
        )


_TOO_LONG_WORDS = f"What was sent is longer than {MOST_BODY_BYTES >> 20} MB; send a smaller picture."


def _same(given: str, kept: str) -> bool:
    return compare_digest(given.encode(), kept.encode())


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
