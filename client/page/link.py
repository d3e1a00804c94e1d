"""The way in by a link that opens once: the browser in which it was opened is let in, and no other.

The link holds a token that becomes a cookie which scripts cannot read and which is sent from no other site (`HttpOnly`,
`SameSite=Strict`). A browser sends a cookie to every port of a host: a program of another user of this machine that the
browser is led to would get it. This way is for a machine, or a session on it, that is one person's; who that is it
does not tell.
"""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from client.page.door import FORBIDDEN, is_same
from common.service.ports import LOOPBACK

ENTER = "/enter"
_SEE_OTHER = 303


class ByLink:
    """Lets one browser in. Its secrets outlive no page that is served.

    Args:
        port: Where the page listens.
    """

    def __init__(self, *, port: int) -> None:
        self.origins = {f"{name}:{port}": f"http://{name}:{port}" for name in (LOOPBACK, "localhost")}
        self.path = f"{ENTER}?token={(token := secrets.token_urlsafe(32))}"
        """What is opened, once."""
        self._link, self._cookie, self._is_used = token, secrets.token_urlsafe(32), False
        self._cookie_name = f"wardround-{port}"

    def admit(self, request: Request) -> str | Response:
        """See `WayIn`."""
        if request.url.path == ENTER and request.method == "GET":
            return self._entered(request)
        return self._refused_by_cookie(request) or ""

    def _entered(self, request: Request) -> Response:
        answer = RedirectResponse("/", _SEE_OTHER)
        if self._is_used or not is_same(request.query_params.get("token", ""), self._link):
            # A second click in the browser that has the cookie is let in; another browser is told so.
            return self._refused_by_cookie(request) or answer
        self._is_used = True
        answer.set_cookie(self._cookie_name, self._cookie, httponly=True, samesite="strict", path="/")
        return answer

    def _refused_by_cookie(self, request: Request) -> Response | None:
        if is_same(request.cookies.get(self._cookie_name, ""), self._cookie):
            return None
        return PlainTextResponse(
            "This page opens by the link that wardround site serve printed, once, in one browser. Was it opened "
            "elsewhere? Then end the command, start it again and open its new link.",
            FORBIDDEN,
        )
