"""A server with TLS that answers `/health`, and counts whom it has served."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from common.trust.authority import CertificateKey
from tests.common.trust.pki import Authority, server_pem


@dataclass
class Server:
    """A server that runs."""

    port: int
    roots: Path
    callers: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"


@contextmanager
def https(folder: Path, *, status: int = 200) -> Iterator[Server]:
    """A server for the block, whose certificate is its own consortium's."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    authority, key = Authority.new(now=now), CertificateKey.generate()
    roots = folder / "roots.pem"
    roots.write_text(authority.root.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_pem(folder, key, [authority.server("127.0.0.1", key=key, now=now)]))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.callers.append(self.client_address[0])
            found.paths.append(self.path)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A caller that goes away in the middle is what some tests do."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        found = Server(server.server_address[1], roots)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
