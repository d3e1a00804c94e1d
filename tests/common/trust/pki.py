"""A consortium's root and server certificates, and TLS between a server and a site on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.trust.authority import CertificateKey, create_root, cross_sign, issue_server_certificate
from common.trust.certificates import Certificate

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Authority:
    """A root and its key."""

    key: CertificateKey
    root: Certificate

    @classmethod
    def new(cls, *, now: datetime = NOW, days: int = 3650) -> Authority:
        """A new root and its key."""
        key = CertificateKey.generate()
        return cls(key, create_root("north-sea", key=key, now=now, days=days))

    def server(
        self, *hosts: str, key: CertificateKey | None = None, now: datetime = NOW, days: int = 365
    ) -> Certificate:
        """A server's certificate under it."""
        return issue_server_certificate(
            "north-sea",
            hosts or ("localhost",),
            server_key=key or CertificateKey.generate(),
            root=self.root,
            root_key=self.key,
            now=now,
            days=days,
        )

    def vouch_for(self, successor: Authority, *, now: datetime = NOW, days: int = 90) -> Certificate:
        """What says that a root follows this one."""
        return cross_sign(successor.root, root=self.root, key=self.key, now=now, days=days)


def server_pem(folder: Path, key: CertificateKey, chain: Sequence[Certificate]) -> Path:
    """A server's key and chain in one file."""
    path = folder / "server.pem"
    path.write_bytes(key.pem + "".join(link.pem for link in chain).encode())
    return path


def handshake(server_file: Path, roots: str, *, host: str = "localhost") -> str:
    """What a site hears from a server over TLS, as it knows these roots alone.

    Raises:
        ssl.SSLError: One of the two does not believe the other.
    """
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server_file, server_file)
    dialling = ssl.create_default_context(cadata=roots)
    dialling.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python 3.13 does by default
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=_answer, args=(listening, serving))
        answering.start()
        try:
            with (
                socket.create_connection(listening.getsockname(), timeout=10) as plain,
                dialling.wrap_socket(plain, server_hostname=host) as secured,
            ):
                return secured.recv(100).decode()
        finally:
            answering.join(timeout=10)


def _answer(listening: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    connection.settimeout(10)
    try:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.sendall(b"hello")
    except (ssl.SSLError, ConnectionError):
        connection.close()  # the test sees the other end's error
