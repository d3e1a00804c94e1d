"""An HTTP server on this machine that answers as a model's endpoint would, or in the ways that hurt most.

Each way is one function of the request's handler. `wrong_plan` and `everyone` are well-formed answers; the others try
to hang, to flood, to lead elsewhere or to be taken for something else.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from client.mediator.plan import Asked, Plan, Span
from common.terminology.coded import Coded

FLOOD_BYTES = 64 * 1024 * 1024
DRIP_SECONDS = 60.0
"""How long a slow answer would take, were it waited for."""


class Handler(BaseHTTPRequestHandler):
    """One request. The server's `way` answers it, and `asked` keeps what came."""

    server: HostileServer

    def do_POST(self) -> None:
        """Answer in the server's way."""
        length = int(self.headers.get("Content-Length", 0))
        self.server.asked.append((self.path, dict(self.headers), self.rfile.read(length)))
        with suppress(OSError):  # whoever asked has hung up, as it should
            self.server.way(self)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Write no log."""

    def answer(self, body: bytes, *, kind: str = "application/json", **headers: str) -> None:
        """One whole answer."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def say(self, content: Any, **message: Any) -> None:  # noqa: ANN401 - any JSON value
        """An answer as chat completions give it."""
        told = {"role": "assistant", "content": content, **message}
        self.answer(json.dumps({"choices": [{"index": 0, "message": told, "finish_reason": "stop"}]}).encode())


Way = Callable[[Handler], None]


class HostileServer(ThreadingHTTPServer):
    """The server.

    Args:
        way: How it answers.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, way: Way) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.way = way
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        """What `mediator.endpoint` would say."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: object) -> None:
        """Say nothing of a connection that was cut."""


@contextmanager
def serving(way: Way) -> Iterator[HostileServer]:
    """A server that answers in a way, until the block ends."""
    server = HostileServer(way)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _plan(**parts: Any) -> dict[str, Any]:  # noqa: ANN401 - the fields of a plan
    return Plan(text="", **parts).as_json()


_WRONG = Asked(concept=Coded("99WARDROUND", "gout", "gout"), why=(Span(0, 4),))


def _drip_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    _drip(handler)


def _drip(handler: Handler) -> None:
    ends = time.monotonic() + DRIP_SECONDS
    while time.monotonic() < ends:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def _drip_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(handler)


def _flood(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    for _ in range(FLOOD_BYTES // 65_536):
        handler.wfile.write(b" " * 65_536)


def _silence(_: Handler) -> None:
    time.sleep(DRIP_SECONDS)


def _redirect(handler: Handler) -> None:
    """To itself, where a plan would be had; `asked` tells whether anybody came."""
    if handler.path == "/elsewhere":
        handler.say(json.dumps(_plan(wanted=(_WRONG,))))
        return
    handler.send_response(307)
    handler.send_header("Location", "/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def _bomb(handler: Handler) -> None:
    handler.answer(gzip.compress(b" " * FLOOD_BYTES, 1), Content_Encoding="gzip")


def _extra_field(handler: Handler) -> None:
    handler.say(json.dumps({**_plan(), "sql": "DROP TABLE studies"}))


def _tool(handler: Handler) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "export_all", "arguments": "{}"}}
    handler.say(json.dumps(_plan()), tool_calls=[call])


WAYS: Mapping[str, Way] = {
    "wrong_plan": lambda handler: handler.say(json.dumps(_plan(wanted=(_WRONG,)))),
    "everyone": lambda handler: handler.say(json.dumps(_plan())),
    "extra_field": _extra_field,
    "tool": _tool,
    "prose": lambda handler: handler.say("Sure! Here is the plan: <script>alert(1)</script>"),
    "no_text": lambda handler: handler.say(None),
    "nested": lambda handler: handler.answer(b"[" * 200_000),
    "not_json": lambda handler: handler.answer(b"\xff\xfe{"),
    "html": lambda handler: handler.answer(b"<html>plan</html>", kind="text/html"),
    "wrong_type": lambda handler: handler.answer(b"{}", kind="application/octet-stream"),
    "error": lambda handler: handler.send_error(500),
    "not_http": lambda handler: handler.wfile.write(b"SSH-2.0-x\r\n") and None,
    "flood": _flood,
    "bomb": _bomb,
    "redirect": _redirect,
    "silence": _silence,
    "drip_body": _drip_body,
    "drip_headers": _drip_headers,
}
"""Every way of answering."""
