"""Proxies of a hospital: a real one, where it is installed, and one that answers what a test wants."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.deploy.supernode_main import free_port

needs_tinyproxy = pytest.mark.skipif(shutil.which("tinyproxy") is None, reason="needs tinyproxy (Debian: tinyproxy)")

OUTWARD = "127.0.0.9"
"""The address that the real proxy's own connections come from."""


@dataclass(frozen=True)
class Tinyproxy:
    """A proxy that runs."""

    url: str
    log: Path

    def num_connects(self, address: str) -> int:
        """How often it was asked for a way to an address."""
        return self.log.read_text(encoding="utf-8").count(f"CONNECT {address} HTTP/1.1")


@contextmanager
def tinyproxy(folder: Path, *, to_port: int, login: str = "") -> Iterator[Tinyproxy]:
    """A tinyproxy for the block.

    Args:
        folder: For its files.
        to_port: The one port that it takes CONNECT to.
        login: `USER PASSWORD` that it asks for.
    """
    port, log, config = free_port(), folder / "tinyproxy.log", folder / "tinyproxy.conf"
    lines = [f"Port {port}", "Listen 127.0.0.1", f"Bind {OUTWARD}", f"ConnectPort {to_port}", f'LogFile "{log}"']
    lines += ["LogLevel Connect", "Timeout 600", *([f"BasicAuth {login}"] if login else [])]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    process = subprocess.Popen(
        [str(shutil.which("tinyproxy")), "-d", "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_port(port)
        yield Tinyproxy(f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def answering(content: bytes) -> Iterator[int]:
    """A port that answers whatever comes with these bytes, and closes; its number."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer, args=(listener, content), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _answer(listener: socket.socket, content: bytes) -> None:
    while True:
        try:
            asking, _ = listener.accept()
        except OSError:
            return
        with asking:
            asking.recv(1 << 16)
            asking.sendall(content)


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the proxy does not start"
            time.sleep(0.02)
        else:
            return
