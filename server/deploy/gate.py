"""What stands before TLS at the port of the sites: how many may be connected, and how long they may take to speak.

A caller whose key nobody has checked yet costs most while it has not finished TLS, near a megabyte of memory for each
connection. So the connections that are open, and those that are still shaking hands, are counted, all of them and by
the caller's address; hospitals behind one address share its part. Whoever is above the bound is closed at once, and
Flower's node tries again. TLS must be done, and the head of a request be whole, within seconds; the time of a body is
bounded behind this (`sites_only.py`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_log = logging.getLogger("wardround.sites")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What callers may take.

    Attributes:
        open: Connections, of all of them.
        open_of_one: Connections of one address.
        greeting: Connections that have not finished TLS, of all of them.
        greeting_of_one: Connections of one address that have not finished TLS.
        greeting_seconds: Longest time of TLS's handshake.
        head_seconds: Longest time from a connection, or a request's first byte, to the end of the request's head.
    """

    open: int = 512
    open_of_one: int = 256
    greeting: int = 128
    greeting_of_one: int = 32
    greeting_seconds: float = 10.0
    head_seconds: float = 15.0


class Gate:
    """Counts the connections of a port, and secures those that it lets in.

    Args:
        context: What TLS is served with.
        make: Makes what answers a connection.
        bounds: What callers may take.
    """

    def __init__(self, context: ssl.SSLContext, make: Callable[[], BoundedHead], *, bounds: Bounds) -> None:
        self._context = context
        self._make = make
        self._bounds = bounds
        self._open: Counter[str] = Counter()
        self._greeting: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self) -> asyncio.Protocol:
        """What takes a new connection."""
        return _Arrival(self)

    def arrive(self, transport: asyncio.Transport) -> None:
        """Let a connection in, or close it."""
        address = str((transport.get_extra_info("peername") or ("",))[0])
        bounds = self._bounds
        if (
            self._open.total() >= bounds.open
            or self._open[address] >= bounds.open_of_one
            or self._greeting.total() >= bounds.greeting
            or self._greeting[address] >= bounds.greeting_of_one
        ):
            _log.warning("closed a connection at once: there are too many, or too many of its address")
            transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(transport, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, transport: asyncio.Transport, address: str) -> None:
        self._open[address] += 1
        try:
            protocol = await self._secured(transport, address)
            if protocol is not None:
                await protocol.lost.wait()
        finally:
            _take_one(self._open, address)

    async def _secured(self, transport: asyncio.Transport, address: str) -> BoundedHead | None:
        """What answers a connection, once TLS is done; None where it never was."""
        self._greeting[address] += 1
        try:
            protocol = self._make()
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                protocol,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._bounds.greeting_seconds,
            )
            if secured is None:  # it went away within the handshake
                return None
            protocol.begin(secured, head_seconds=self._bounds.head_seconds)
        except (OSError, ssl.SSLError):  # of the caller's making: no TLS, another version, gone, or too slow
            transport.abort()
            return None
        else:
            return protocol
        finally:
            _take_one(self._greeting, address)


class _Arrival(asyncio.Protocol):
    """A connection in its first moment."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            # What comes is TLS's: nothing is read until TLS does.
            transport.pause_reading()
            self._gate.arrive(transport)


class BoundedHead(H11Protocol):
    """uvicorn's HTTP/1.1 with a bound on the time that the head of a request may take."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*arguments, **options)
        self.lost = asyncio.Event()
        """Set when the connection is over."""
        self._early = bytearray()
        self._is_open = False
        self._head_seconds = 0.0
        self._head_timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport, *, head_seconds: float) -> None:
        """TLS is done: the connection begins, with what has come already."""
        self._is_open, self._head_seconds = True, head_seconds
        self.connection_made(transport)
        self._expect_head()
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`; TLS may hand over the first bytes before the connection has begun here."""
        if not self._is_open:
            self._early += data
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._forget_timer()

    def on_response_complete(self) -> None:
        """See `H11Protocol`; the next head may have begun while this request was answered."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._forget_timer()
        self.lost.set()
        if self._is_open:
            super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_seconds, self._give_up)

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        self.transport.abort()


def _take_one(counter: Counter[str], address: str) -> None:
    counter[address] -= 1
    if counter[address] <= 0:
        del counter[address]
