"""The network is away from an isolated child, and only from it; a Unix socket still works."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from client.deploy import isolation
from client.deploy.isolation import without_network

CONNECT = """
import socket, sys
for family, address in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))), (socket.AF_UNIX, sys.argv[2])):
    with socket.socket(family) as end:
        end.settimeout(5)
        print(end.connect_ex(address) == 0)
"""


def connects(prefix: Sequence[str], port: int, path: Path) -> list[str]:
    """Whether a child reaches a port of loopback, and a Unix socket."""
    command = [*prefix, sys.executable, "-c", CONNECT, str(port), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()


@pytest.mark.parametrize("prefix", [isolation._ROOT, isolation._USER])
def test_isolated_child_reaches_a_unix_socket_and_not_even_loopback(
    tmp_path: Path, prefix: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "_ROOT", prefix)
    monkeypatch.setattr(isolation, "_USER", prefix)
    if not without_network():
        pytest.skip("needs a platform that lets a process leave the network: Linux with user namespaces, or root")
    with socket.create_server(("127.0.0.1", 0)) as inet, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        port = inet.getsockname()[1]
        assert connects((), port, tmp_path / "s") == ["True", "True"]
        assert connects(prefix, port, tmp_path / "s") == ["False", "True"]


@pytest.mark.parametrize("prefix", [("false",), ("no-such-program",), ("env", "--")])
def test_platform_that_does_not_allow_it_is_told_of(
    prefix: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(isolation, "_ROOT", prefix)
    monkeypatch.setattr(isolation, "_USER", prefix)
    if prefix == ("env", "--") and not any(name != "lo" for _, name in socket.if_nameindex()):
        pytest.skip("needs a machine with a network")
    with caplog.at_level(logging.WARNING, "wardround.isolation"):
        assert without_network() == ()
    assert "WITH the network" in caplog.text
