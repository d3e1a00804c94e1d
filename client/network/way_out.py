"""The way from a hospital to the server: one place that connects, and says in a hospital's words why it does not.

TLS goes from end to end: a proxy is asked for CONNECT to the server's host and port, and sees nothing else. Proxies
that the environment names are never followed, whatever it sets: where traffic goes is said in `site.yaml`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx

from client.network.proxy import Proxy

TRY_SECONDS = 10.0
"""How long each step of `try_once` may take."""

_LOGIN = frozenset({401, 407})
_SERVER_ERROR = 500


class Problem(StrEnum):
    """Why the server is not reached; the text is the word in a log."""

    SILENT = "silent"
    NOT_HTTP = "not_http"
    LOGIN = "login"
    REFUSED = "refused"
    BEYOND = "beyond"
    CERTIFICATE = "certificate"
    LOST = "lost"


@dataclass(frozen=True, kw_only=True)
class WayOut:
    """How the server is reached.

    Attributes:
        address: Its host and port.
        roots: File of the roots that it is believed by.
        proxy: What to go through; None goes straight.
    """

    address: str
    roots: Path
    proxy: Proxy | None = None

    def client(self, *, timeout_seconds: float) -> httpx.Client:
        """A client that goes this way and no other; it follows no redirect, for the server gives none.

        Raises:
            OSError: The roots cannot be read.
        """
        return httpx.Client(
            transport=httpx.HTTPTransport(
                verify=ssl.create_default_context(cafile=str(self.roots)),
                trust_env=False,
                proxy=None if self.proxy is None else self.proxy.for_httpx(),
            ),
            timeout=timeout_seconds,
            trust_env=False,
        )

    def in_words(self, problem: Problem) -> str:
        """What is wrong, and what to do."""
        if self.proxy is None:
            return _STRAIGHT[problem].format(address=self.address)
        return _PROXIED[problem].format(address=self.address, proxy=self.proxy.url)


_CERTIFICATE = (
    "the server shows a certificate that this site does not believe, or expired; ask the coordinating centre, and take "
    "its newest answer with wardround site join"
)
_LOST = "the line to {address} is lost"
_SILENT = (
    "the server does not answer; look whether this machine reaches {address}, or ask the coordinating centre; where "
    "the hospital goes out through a proxy, name it in agent.proxy"
)
_STRAIGHT = {
    **dict.fromkeys(Problem, _SILENT),
    Problem.CERTIFICATE: _CERTIFICATE,
    Problem.LOST: _LOST,
}
_PROXIED = {
    Problem.SILENT: "agent.proxy={proxy}: no proxy answers there; correct it, or ask who runs the proxy",
    Problem.NOT_HTTP: "agent.proxy={proxy}: what answers there is no HTTP proxy; correct host and port",
    Problem.LOGIN: (
        "agent.proxy={proxy}: the proxy does not take this login, or asks for one; write USER:PASSWORD into a file of "
        "mode 0600, and name it in agent.proxy_login"
    ),
    Problem.REFUSED: (
        "agent.proxy={proxy}: the proxy refuses CONNECT to {address}; have who runs it allow this machine to reach it"
    ),
    Problem.BEYOND: (
        "agent.proxy={proxy}: the proxy does not reach {address}; have who runs it let it out there, or ask the "
        "coordinating centre whether the server is up"
    ),
    Problem.CERTIFICATE: (
        f"{_CERTIFICATE}; where agent.proxy opens what passes it, have it let {{address}} pass unopened"
    ),
    Problem.LOST: _LOST,
}


class Steps:
    """How far one request has come; `httpcore` tells it."""

    def __init__(self) -> None:
        self._begun: set[str] = set()
        self._done: set[str] = set()

    def note(self, event: str, _: object) -> None:
        """Take what `httpcore` tells (its `trace` extension): `connection.connect_tcp.started` and the like."""
        step, _, state = event.rpartition(".")
        if state in ("started", "complete"):
            (self._begun if state == "started" else self._done).add(step.rpartition(".")[2])

    def problem_of(self, error: httpx.TransportError) -> Problem:
        """Why the request failed."""
        if isinstance(error, httpx.ProxyError):
            return _of_status(str(error))
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Problem.CERTIFICATE
        if "connect_tcp" not in self._begun or "start_tls" in self._begun:
            return Problem.LOST
        return Problem.NOT_HTTP if "connect_tcp" in self._done else Problem.SILENT


def _of_status(said: str) -> Problem:
    """What a proxy's refusal means: httpx gives its status line."""
    number = said.partition(" ")[0]
    status = int(number) if number.isdigit() else _SERVER_ERROR
    if status in _LOGIN:
        return Problem.LOGIN
    return Problem.REFUSED if status < _SERVER_ERROR else Problem.BEYOND


def try_once(way: WayOut) -> str | None:
    """Go the way once, as far as the server's `/health`; nothing is sent that says who this is.

    Returns:
        What is wrong, in words; None where nothing is.

    Raises:
        OSError: The roots cannot be read.
    """
    steps = Steps()
    extensions: dict[str, Callable[[str, object], None]] = {"trace": steps.note}
    with way.client(timeout_seconds=TRY_SECONDS) as client:
        try:
            answer = client.get(f"https://{way.address}/health", extensions=extensions)
        except httpx.TransportError as error:
            return way.in_words(steps.problem_of(error))
    if not answer.is_success:
        return f"what answers at {way.address} is not the consortium's server; ask the coordinating centre"
    return None
