"""Listeners: a port that is taken is said, a new certificate is served without a restart, a damaged one is not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvicorn

from common.errors import ConfigError
from common.trust.authority import CertificateKey
from server.deploy import listeners
from server.deploy.listeners import Listener, bind
from server.deploy.sites_only import Receive, Scope, Send
from tests.common.trust.pki import NOW, Authority, server_pem


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that is never asked."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = CertificateKey.generate()
    return server_pem(tmp_path, key, [Authority.new().server(key=key)])


def served(context: ssl.SSLContext) -> bytes:
    """The certificate that is shown to who dials, in DER; no socket is needed."""
    dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    dialling.check_hostname, dialling.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = dialling.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return shown


def test_port_that_is_taken_is_said() -> None:
    with bind("127.0.0.1", 0) as first, pytest.raises(ConfigError, match=r"port \d+: cannot be used.*consortium.yaml"):
        bind("127.0.0.1", first.getsockname()[1])


def test_empty_host_is_every_address_and_loopback_is_loopback_alone() -> None:
    with bind("", 0) as everywhere, socket.create_connection(("127.0.0.1", everywhere.getsockname()[1]), timeout=5):
        pass
    with bind("127.0.0.1", 0) as loopback:
        assert loopback.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("change", "is_taken_up"),
    [
        (lambda path, new: path.write_bytes(new), True),
        (lambda path, new: path.write_bytes(new[: len(new) // 2]), False),
        (lambda path, _: path.unlink(), False),
    ],
)
def test_new_certificate_is_served_and_a_damaged_one_is_not(
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path, bytes], object],
    *,
    is_taken_up: bool,
) -> None:
    monkeypatch.setattr(listeners, "_RELOAD_SECONDS", 0.01)
    with bind("127.0.0.1", 0) as listening:
        config = uvicorn.Config(nothing, ssl_certfile=certificate, ssl_keyfile=certificate, ws="none", log_config=None)
        listener = Listener(config, listening)
        before = served(listener.context)
        key = CertificateKey.generate()
        (certificate.parent / "next").mkdir()
        new = server_pem(certificate.parent / "next", key, [Authority.new().server(key=key, now=NOW)]).read_bytes()

        async def renew() -> None:
            renewing = asyncio.create_task(listeners._renew([listener], certificate))
            await asyncio.sleep(0.03)
            change(certificate, new)
            await asyncio.sleep(0.1)
            assert not renewing.done(), "it goes on looking, whatever it finds"
            renewing.cancel()

        asyncio.run(renew())
        assert (served(listener.context) != before) is is_taken_up


def test_listener_without_tls_is_refused() -> None:
    with bind("127.0.0.1", 0) as listening, pytest.raises(ConfigError, match="without TLS"):
        Listener(uvicorn.Config(nothing, ws="none", log_config=None), listening)


def test_what_is_accepted_does_not_wait_for_acknowledgements() -> None:
    with (
        bind("", 0) as listening,
        socket.create_connection(("127.0.0.1", listening.getsockname()[1]), timeout=5),
    ):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
