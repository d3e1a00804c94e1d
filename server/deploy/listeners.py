"""TLS listeners: how each is served, and several of one application in one process, that start and end together."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import uvicorn

from common.errors import ConfigError
from server.deploy.gate import BoundedHead, Bounds, Gate
from server.deploy.sites_only import Application

_RELOAD_SECONDS = 30.0
_KEEP_ALIVE_SECONDS = 15
_GRACE_SECONDS = 3
_LONGEST_HEAD_BYTES = 16 << 10
_log = logging.getLogger("wardround.superlink")


def tls_config(
    application: Application, *, certificate: Path, lifespan: Literal["on", "off"], most_open: int | None = None
) -> uvicorn.Config:
    """What every listener is served with.

    Args:
        application: What answers.
        certificate: The file of TLS, key and chain.
        lifespan: Whether the application is started and ended with the listener.
        most_open: Requests at a time; None without a limit.
    """
    return uvicorn.Config(
        application,
        lifespan=lifespan,
        limit_concurrency=most_open,
        ssl_certfile=certificate,
        ssl_keyfile=certificate,
        log_config=None,
        http="h11",  # the one whose requests' heads are bounded
        h11_max_incomplete_event_size=_LONGEST_HEAD_BYTES,
        ws="none",
        proxy_headers=False,  # no proxy stands before it, and a header says who anyone likes
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


class Listener(uvicorn.Server):
    """One of several listeners of a process: signals are taken by `serve`, once, for all of them.

    The certificate is that of `Config.ssl_certfile`. TLS 1.3 is the least: what dials is Python 3.11 or newer at a
    site, or this machine, so there is nothing older to allow for, and no cipher left to choose.

    Args:
        config: As uvicorn takes it, with TLS.
        listening: The socket, bound.
        bounds: What callers may take whom nobody knows yet; None for callers of this machine.
    """

    def __init__(self, config: uvicorn.Config, listening: socket.socket, *, bounds: Bounds | None = None) -> None:
        super().__init__(config)
        self.listening = listening
        self._bounds = bounds
        config.load()
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3

    @property
    def context(self) -> ssl.SSLContext:
        """What TLS is served with.

        Raises:
            ConfigError: The listener was made without TLS.
        """
        if self.config.ssl is None:
            raise ConfigError("a listener without TLS; give key and certificate")
        return self.config.ssl

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, on the one socket; behind a gate where there are bounds.

        Raises:
            ConfigError: The listener was made without TLS.
        """
        if self._bounds is None:
            await super().startup(sockets)
            return
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()

        def make() -> BoundedHead:
            return BoundedHead(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )

        gate = Gate(self.context, make, bounds=self._bounds)
        self.servers = [await loop.create_server(gate, sock=self.listening, backlog=self.config.backlog)]
        self.started = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on an address; on every address of the machine where the host is empty.

    Raises:
        ConfigError: The port is taken, or may not be used.
    """
    everywhere = not host
    dual = everywhere and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise ConfigError(
            f"port {port}: cannot be used ({error.strerror}); end what uses it, or set another in consortium.yaml"
        ) from error
    # What is accepted inherits it. asyncio would set it, but not where the socket was made without naming TCP, as
    # `create_server` makes it; and then each answer waits 40 ms for the acknowledgement of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


async def serve(listeners: Sequence[Listener], *, certificate: Path) -> None:
    """Serve until SIGTERM or SIGINT, or until one of the listeners ends.

    A new certificate in the place of the old one is taken up within half a minute, for connections made from then on:
    a run does not end because of `wardround server rotate`.

    Args:
        listeners: What to serve; the first to come starts the application.
        certificate: The file of TLS, key and chain.
    """
    loop = asyncio.get_running_loop()
    serving = [asyncio.create_task(one.serve(sockets=[one.listening])) for one in listeners]
    renewing = asyncio.create_task(_renew(listeners, certificate))

    def end() -> None:
        for one in listeners:
            one.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
    end()
    renewing.cancel()
    await asyncio.gather(*serving)


async def _renew(listeners: Sequence[Listener], certificate: Path) -> None:
    served = certificate.stat().st_mtime_ns
    while True:
        await asyncio.sleep(_RELOAD_SECONDS)
        try:
            found = certificate.stat().st_mtime_ns
            if found != served:
                for one in listeners:
                    one.context.load_cert_chain(certificate)
                served = found
                _log.info("serving a new certificate")
        except OSError as error:  # of which ssl.SSLError is one
            _log.warning("%s: cannot be served (%s); restore it", certificate, error.strerror)
