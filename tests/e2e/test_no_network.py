"""No socket of a run leaves this machine: an audit hook (PEP 578) in it and its children sees every attempt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wardround

HOOK = """
import os, sys

LOCAL = {"localhost", "127.0.0.1", "::1", "", None}

def host_of(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return arguments[0]
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        return address[0] if isinstance(address, tuple) else None  # a path is a Unix socket
    return None

def watch(event, arguments):
    if not event.startswith("socket."):
        return
    host = host_of(event, arguments)
    host = host.decode() if isinstance(host, bytes) else host
    if host not in LOCAL and not str(host).startswith("127."):
        with open(os.environ["SOCKET_LOG"], "a") as log:
            log.write(f"{event} {host}\\n")
        raise PermissionError(f"{event} to {host}")

sys.addaudithook(watch)
"""
ATTEMPTS = {
    "connect": "socket.socket().connect(('192.0.2.1', 9))",
    "connect to a name": "socket.create_connection(('example.org', 80), timeout=1)",
    "look-up": "socket.getaddrinfo('example.org', 80)",
    "datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))",
    "bind to every address": "socket.socket().bind(('0.0.0.0', 0))",
    "in a child": "subprocess.run([sys.executable, '-c', 'import socket; socket.getaddrinfo(chr(120) * 3, 80)'])",
}


def _watched(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run Python with the hook in it and in its children; what the hook wrote."""
    (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    log = folder / "sockets.txt"
    log.touch()
    path = os.pathsep.join([str(folder), str(Path(wardround.__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": path, "SOCKET_LOG": str(log)}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return done, log.read_text(encoding="utf-8")


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_hook_catches_an_attempt(tmp_path: Path, attempt: str) -> None:
    _, log = _watched(tmp_path, "-c", f"import socket, subprocess, sys; {attempt}")
    assert log.startswith("socket.")


def test_hook_lets_loopback_pass(tmp_path: Path) -> None:
    script = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); socket.getaddrinfo('localhost', 80)"
    done, log = _watched(tmp_path, "-c", script)
    assert (done.returncode, log) == (0, "")


def test_simulation_opens_no_socket_beyond_this_machine(tmp_path: Path, tiny_overrides: list[str]) -> None:
    options = ["--out", str(tmp_path / "run"), *tiny_overrides, "privacy.epsilon=null"]
    done, log = _watched(tmp_path, "-c", "import wardround; wardround.main()", "simulate", *options)
    assert done.returncode == 0, done.stderr
    assert log == ""
