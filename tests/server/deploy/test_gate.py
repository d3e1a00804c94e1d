"""The port of the sites under callers that hold on to it: they are closed in time, and the hospitals are served."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn

from common.trust.authority import CertificateKey
from server.deploy.gate import Bounds
from server.deploy.listeners import Listener, bind
from server.deploy.sites_only import Receive, Scope, Send
from tests.common.trust.pki import Authority, server_pem

REQUEST = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
FEW = Bounds(open=12, open_of_one=8, greeting=6, greeting_of_one=4, greeting_seconds=0.6, head_seconds=0.6)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's
    """Says yes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = CertificateKey.generate()
    return server_pem(tmp_path, key, [Authority.new().server(key=key)])


@pytest.fixture
def serve(certificate: Path) -> Iterator[Callable[[Bounds | None], int]]:
    """Serves with bounds; the port."""
    with ExitStack() as stack:

        def start(bounds: Bounds | None) -> int:
            config = uvicorn.Config(
                answer,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                ssl_certfile=certificate,
                ssl_keyfile=certificate,
            )
            listener = Listener(config, bind("127.0.0.1", 0), bounds=bounds)
            thread = threading.Thread(target=lambda: asyncio.run(listener.serve(sockets=[listener.listening])))
            thread.start()

            def stop() -> None:
                listener.should_exit = listener.force_exit = True
                thread.join(10)

            stack.callback(stop)
            while not listener.started:
                time.sleep(0.01)
            return int(listener.listening.getsockname()[1])

        yield start


def plain(port: int, *, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(address, 0))


@contextmanager
def secured(port: int, *, address: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with plain(port, address=address) as connection, context.wrap_socket(connection) as found:
        yield found


def is_answered(connection: ssl.SSLSocket) -> bool:
    found = b""
    while not found.endswith(b"ok"):
        more = connection.recv(1000)
        if not more:
            return False
        found += more
    return found.startswith(b"HTTP/1.1 200")


def is_served(port: int, *, address: str = "127.0.0.1") -> bool:
    try:
        with secured(port, address=address) as connection:
            connection.sendall(REQUEST)
            return is_answered(connection)
    except (OSError, ssl.SSLError):
        return False


def is_closed(connection: socket.socket) -> bool:
    """Whether the other end has let go, within five seconds."""
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_requests_are_answered_one_after_another_on_one_connection(serve: Callable[[Bounds | None], int]) -> None:
    with secured(serve(FEW)) as connection:
        for _ in range(3):
            connection.sendall(REQUEST)
            assert is_answered(connection)
            time.sleep(0.3)  # longer together than a head may take: what is idle between requests is not slow


@pytest.mark.parametrize("bounds", [FEW, None])
def test_connection_that_never_shakes_hands_is_closed_where_there_are_bounds(
    serve: Callable[[Bounds | None], int], bounds: Bounds | None
) -> None:
    with plain(serve(bounds)) as connection:
        connection.settimeout(1.5)
        assert is_closed(connection) is (bounds is not None)


@pytest.mark.parametrize("begun", [b"", b"GET /health HT", REQUEST + b"GET /he"])
def test_head_that_never_ends_is_closed(serve: Callable[[Bounds | None], int], begun: bytes) -> None:
    with secured(serve(FEW)) as connection:
        connection.settimeout(3)
        connection.sendall(begun)
        if begun.startswith(REQUEST):
            assert is_answered(connection)
        assert is_closed(connection)


def test_bytes_one_at_a_time_do_not_put_the_end_off(serve: Callable[[Bounds | None], int]) -> None:
    with secured(serve(FEW)) as connection:
        started = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - started < 5:
                connection.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - started < 2


def test_one_address_cannot_shut_the_others_out(serve: Callable[[Bounds | None], int]) -> None:
    port = serve(FEW)
    with ExitStack() as stack:
        held = [stack.enter_context(plain(port)) for _ in range(FEW.greeting_of_one)]
        time.sleep(0.1)
        assert not is_served(port), "its part is taken"
        assert is_served(port, address="127.0.0.2")
        assert all(map(is_closed, held))
    assert is_served(port), "and given back"


def test_open_connections_of_an_address_and_of_all_are_bounded(serve: Callable[[Bounds | None], int]) -> None:
    port = serve(Bounds(open=12, open_of_one=8, greeting=20, greeting_of_one=20))
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(secured(port))
        assert not is_served(port)
        assert is_served(port, address="127.0.0.3")
        time.sleep(0.2)
        for _ in range(4):
            stack.enter_context(secured(port, address="127.0.0.2"))
        assert not is_served(port, address="127.0.0.3")
    time.sleep(0.2)
    assert is_served(port)


def test_sixteen_sites_of_ten_connections_fit(serve: Callable[[Bounds | None], int]) -> None:
    """All of them behind one address, as Flower's nodes connect while they send a model."""
    port = serve(Bounds())
    with ExitStack() as stack:
        for _ in range(160):
            stack.enter_context(secured(port))
        assert is_served(port)
