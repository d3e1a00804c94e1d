"""Flower's client on the way out: what it tries again, what it says, and where it goes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.supercore.retry import RetryInvoker, make_simple_http_retry_invoker
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.deploy.fleet import OPEN, fleet_client
from client.network.proxy import Proxy
from client.network.way_out import Problem, WayOut
from tests.client.network.https import Server, https
from tests.client.network.proxies import answering

SET = """
import sys
from pathlib import Path
from client.deploy import fleet
from client.network.way_out import WayOut
fleet.go_out_by(WayOut(address="server:1", roots=Path("roots")))
from flwr.supernode import fleet_http_client, fleet_http_connection
print(fleet_http_connection.FleetHttpClient.__module__, fleet_http_client.HEARTBEAT_CALL_TIMEOUT)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with https(tmp_path / "server") as found:
        yield found


def tries(client: FleetHttpClient) -> tuple[int, Exception]:
    """How often Flower tries a call, of three times at most, and how it ends."""
    num_tries = 0

    def call() -> None:
        nonlocal num_tries
        num_tries += 1
        client.PullMessages(PullMessagesRequest())

    invoker: RetryInvoker = make_simple_http_retry_invoker()
    invoker.max_tries, invoker.wait_function = 3, lambda _: None
    with pytest.raises(httpx.HTTPError) as caught:
        invoker.invoke(call)
    return num_tries, caught.value


def made(way: WayOut, said: list[str]) -> FleetHttpClient:
    return fleet_client(way, say=said.append)(f"https://{way.address}", timeout=5)


def flowers_own(way: WayOut, **options: Any) -> FleetHttpClient:
    """Flower's client, to which a proxy was given all the same."""
    client = FleetHttpClient(f"https://{way.address}", verify=httpx.create_ssl_context(), timeout=5)
    client._client.close()
    client._client = httpx.Client(timeout=5, trust_env=False, **options)
    return client


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (b"502 Bad Gateway", Problem.BEYOND),
        (b"407 Login please", Problem.LOGIN),
        (b"403 Forbidden", Problem.REFUSED),
    ],
)
def test_call_is_tried_again_while_the_proxy_refuses_where_flower_gives_up(
    server: Server, status: bytes, problem: Problem
) -> None:
    said: list[str] = []
    with answering(b"HTTP/1.1 " + status + b"\r\n\r\n") as port:
        url = f"http://127.0.0.1:{port}"
        way = WayOut(address=server.address, roots=server.roots, proxy=Proxy(url=url))
        with made(way, said) as client, flowers_own(way, proxy=url) as other:
            assert tries(client)[0] == 3
            with pytest.raises(httpx.ProxyError):
                other.PullMessages(PullMessagesRequest())
    assert said == [problem]


def test_call_is_tried_again_where_the_line_is_lost_within_tls_and_flower_gives_up(server: Server) -> None:
    said: list[str] = []
    with answering(b"") as port:  # it closes after the first words of TLS
        way = WayOut(address=f"127.0.0.1:{port}", roots=server.roots)
        with made(way, said) as client, flowers_own(way) as other:
            assert tries(client)[0] == 3
            assert tries(other)[0] == 1, "Flower itself tries again; this is needed no more"
    assert said == [Problem.LOST]


def test_certificate_that_is_not_believed_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    with https(tmp_path / "other") as other, made(WayOut(address=other.address, roots=server.roots), said) as client:
        number, error = tries(client)
    assert (number, said) == (1, [Problem.CERTIFICATE])
    assert "certificate" in str(error).lower()  # by this word Flower ends the process, and it is started again


def test_it_is_said_when_the_server_is_reached_again(server: Server) -> None:
    said: list[str] = []
    with made(WayOut(address=server.address, roots=server.roots), said) as client:
        client._told(Problem.LOST)
        with pytest.raises(httpx.HTTPStatusError):  # this server has no such call, but it is there
            client.PullMessages(PullMessagesRequest())
    assert said == [Problem.LOST, OPEN]


def test_supernodes_process_goes_this_way_and_its_heartbeat_waits_longer() -> None:
    done = subprocess.run([sys.executable, "-c", SET], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["client.deploy.fleet", "30.0"]
