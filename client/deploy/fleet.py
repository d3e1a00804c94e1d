"""Flower's client of the server's API, on the hospital's way out, and such that a line may be lost under it.

Three things of Flower 1.41 that lose a round on such a line. Its client follows the proxies of the environment, and
cannot be given one. It tries a call again only after some of the errors of httpx: not after what a proxy says while
the line behind it is down, and not after any whose text holds "ssl", as that of each connection that is lost within
TLS does; the reply that was being sent is given up. And its heartbeat waits 5 s, which is less than what stands before
it on a slow line that carries a model.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Sequence

import httpx
from flwr.supercore.protobuf.client import ProtobufClientInterceptor, ProtobufRequestContext
from flwr.supercore.retry import RetryInvoker
from flwr.supernode import fleet_http_client, fleet_http_connection
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.network.way_out import Problem, Steps, WayOut

SIGN = "way out:"
"""Begins the line that says why the server is not reached: a word of `Problem`, or `OPEN` when it is reached again."""

OPEN = "open"
HEARTBEAT_SECONDS = 30.0

_TRIED_AGAIN = (
    httpx.ConnectError,
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
    httpx.TimeoutException,
)
"""Of what Flower tries again; anything else becomes the first of them."""


def fleet_client(way: WayOut, *, say: Callable[[str], None]) -> type[FleetHttpClient]:
    """Flower's client, on this way.

    Args:
        way: The way.
        say: Told a word of `Problem` when the server is not reached any more, and `OPEN` when it is again.
    """

    class OnTheWay(FleetHttpClient):
        """The client."""

        def __init__(
            self,
            base_url: str,
            *,
            interceptors: Sequence[ProtobufClientInterceptor] = (),
            verify: ssl.SSLContext | bool | str = True,
            timeout: float = 30.0,
            retry_invoker: RetryInvoker | None = None,
        ) -> None:
            super().__init__(
                base_url, interceptors=interceptors, verify=verify, timeout=timeout, retry_invoker=retry_invoker
            )
            self._client.close()
            self._client = way.client(timeout_seconds=timeout)
            self._problem: Problem | None = None

        def _send(self, context: ProtobufRequestContext, *, stream: bool = False) -> httpx.Response:
            steps = Steps()
            context.request.extensions["trace"] = steps.note
            try:
                response = super()._send(context, stream=stream)
            except httpx.TransportError as error:
                problem = steps.problem_of(error)
                self._told(problem)
                raise _as_tried_again(error, problem) from error
            self._told(None)
            return response

        def _told(self, problem: Problem | None) -> None:
            if problem is not self._problem:
                self._problem = problem
                say(OPEN if problem is None else problem)

    return OnTheWay


def _as_tried_again(error: httpx.TransportError, problem: Problem) -> httpx.TransportError:
    """The error with which Flower tries again; a certificate that is not believed ends the process, as it did."""
    if problem is Problem.CERTIFICATE:
        return error
    kind = type(error) if isinstance(error, _TRIED_AGAIN) else httpx.ConnectError
    return kind(f"the server is not reached ({problem})")


def go_out_by(way: WayOut) -> None:
    """Let Flower's SuperNode of this process go that way, and say on standard output how it fares.

    Raises:
        RuntimeError: Flower's client is elsewhere.
    """
    waits, clients = vars(fleet_http_client), vars(fleet_http_connection)
    if "HEARTBEAT_CALL_TIMEOUT" not in waits or clients.get("FleetHttpClient") is not FleetHttpClient:
        raise RuntimeError("flwr: its client is elsewhere; install the version that pyproject.toml names")
    waits["HEARTBEAT_CALL_TIMEOUT"] = HEARTBEAT_SECONDS
    clients["FleetHttpClient"] = fleet_client(way, say=_say)


def _say(word: str) -> None:
    sys.stdout.write(f"{SIGN} {word}\n")
    sys.stdout.flush()
