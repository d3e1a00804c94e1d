"""The way out: through a real proxy, what goes wrong in one line each, and never by what the environment says."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.network.proxy import Proxy
from client.network.way_out import Problem, WayOut, try_once
from tests.client.network.https import Server, https
from tests.client.network.proxies import OUTWARD, answering, needs_tinyproxy, tinyproxy
from tests.client.network.test_proxy import login_file


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with https(tmp_path / "server") as found:
        yield found


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def words(server: Server, proxy: str | None, *, login: str = "") -> str:
    """What is wrong with the way."""
    found = None if proxy is None else Proxy(url=proxy, login_file=login)
    return try_once(WayOut(address=server.address, roots=server.roots, proxy=found)) or ""


def test_straight_way_reaches_the_server(server: Server) -> None:
    assert words(server, None) == ""
    assert (server.callers, server.paths) == (["127.0.0.1"], ["/health"])


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_proxy_of_the_environment_is_not_followed(server: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    for spelling in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(spelling, raising=False)
    assert words(server, None) == ""


@needs_tinyproxy
def test_way_through_a_real_proxy_with_a_login_reaches_the_server(server: Server, tmp_path: Path) -> None:
    login = login_file(tmp_path, b"ward:sesame")
    with tinyproxy(tmp_path, to_port=server.port, login="ward sesame") as proxy:
        assert words(server, proxy.url, login=login) == ""
        assert server.callers == [OUTWARD]
        assert proxy.num_connects(server.address) == 1


@needs_tinyproxy
def test_real_proxys_refusals_are_said_in_one_line_each(server: Server, tmp_path: Path) -> None:
    wrong = login_file(tmp_path, b"ward:wrong")
    with tinyproxy(tmp_path, to_port=server.port, login="ward sesame") as proxy:
        for login in ("", wrong):
            said = words(server, proxy.url, login=login)
            assert said.startswith(
                f"agent.proxy={proxy.url}: the proxy does not take this login, or asks for one; write"
            )
            assert "agent.proxy_login" in said
    with tinyproxy(tmp_path, to_port=443) as proxy:
        said = words(server, proxy.url)
        assert f"refuses CONNECT to {server.address}; have who runs it allow" in said
    assert server.callers == []


@needs_tinyproxy
def test_server_behind_a_real_proxy_that_is_down_is_not_the_proxys_fault(tmp_path: Path, server: Server) -> None:
    down = Server(unused_port(), server.roots)
    with tinyproxy(tmp_path, to_port=down.port) as proxy:
        assert f"the proxy does not reach {down.address}" in words(down, proxy.url)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is no HTTP proxy; correct host and port"),
        (b"", "is no HTTP proxy"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refuses CONNECT"),
        (b"HTTP/1.1 407 Login please\r\n\r\n", "does not take this login"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "does not reach"),
        (b"HTTP/1.1 200 OK\r\n\r\nrubbish, and no TLS", "the line to"),
    ],
)
def test_what_a_proxy_may_answer_is_one_line(server: Server, answer: bytes, expected: str) -> None:
    with answering(answer) as port:
        said = words(server, f"http://127.0.0.1:{port}")
    assert expected in said
    assert "\n" not in said
    assert server.callers == []


def test_proxy_that_is_not_there_is_told_from_a_server_that_is_not(server: Server) -> None:
    assert ": no proxy answers there; correct it" in words(server, f"http://127.0.0.1:{unused_port()}")
    assert "the server does not answer" in words(Server(unused_port(), server.roots), None)


def test_proxy_that_opens_tls_is_found_out(server: Server, tmp_path: Path) -> None:
    with https(tmp_path / "opened") as other:
        assert "a certificate that this site does not believe" in words(Server(other.port, server.roots), None)
    way = WayOut(address="server:1", roots=server.roots, proxy=Proxy(url="http://proxy:1"))
    assert "pass unopened" in way.in_words(Problem.CERTIFICATE)


def test_stranger_that_the_root_vouches_for_is_not_taken_for_the_server(tmp_path: Path) -> None:
    with https(tmp_path / "other", status=404) as other:
        assert "is not the consortium's server" in words(other, None)


@pytest.mark.parametrize("problem", Problem)
def test_each_problem_has_words_for_either_way(problem: Problem, tmp_path: Path) -> None:
    for proxy in (None, Proxy(url="http://proxy:3128", login_file="secret-file")):
        said = WayOut(address="server:8443", roots=tmp_path, proxy=proxy).in_words(problem)
        assert "{" not in said
        assert "secret-file" not in said
