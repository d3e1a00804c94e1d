"""The health protocol: SERVING only what serves, now, and on loopback."""

from __future__ import annotations

import logging
import socket
import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.errors import ConfigError
from common.service.health import health_served, services_of
from tests.common.service.children import until
from tests.common.service.ports import free_port, taken_port

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def status(port: int, service: str = "") -> int:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10, wait_for_ready=True)
    return int(answer.status)


def test_health_follows_what_serves() -> None:
    now = {"": False, "superlink": True}
    port = free_port()
    with health_served(lambda: now, port=port):
        until(lambda: status(port, "superlink") == SERVING)
        assert status(port) == NOT_SERVING
        now[""], now["superlink"] = True, False
        until(lambda: status(port) == SERVING)
        until(lambda: status(port, "superlink") == NOT_SERVING)


def test_unknown_service_is_not_found() -> None:
    port = free_port()
    with health_served(lambda: {"": True}, port=port), pytest.raises(grpc.RpcError) as caught:
        status(port, "ledger")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_what_cannot_be_looked_at_does_not_serve(caplog: pytest.LogCaptureFixture) -> None:
    broken = threading.Event()

    def look() -> dict[str, bool]:
        if broken.is_set():
            raise OSError("gone")
        return {"": True}

    port = free_port()
    with caplog.at_level(logging.CRITICAL, "wardround.health"), health_served(look, port=port):
        until(lambda: status(port) == SERVING)
        broken.set()
        until(lambda: status(port) == NOT_SERVING)
        broken.clear()
        until(lambda: status(port) == SERVING)


def test_health_is_on_loopback_alone() -> None:
    port = free_port()
    with health_served(lambda: {}, port=port), socket.socket() as other:
        other.bind(("127.0.0.2", port))
        other.listen()


def test_taken_port_is_one_clear_error() -> None:
    with (
        taken_port() as port,
        pytest.raises(ConfigError, match=f"health_port={port}: cannot be listened on; give another"),
        health_served(lambda: {}, port=port),
    ):
        pass


def test_port_of_another_health_service_is_taken() -> None:
    port = free_port()
    with (
        health_served(lambda: {}, port=port),
        pytest.raises(ConfigError, match="health_port"),
        health_served(lambda: {}, port=port),
    ):
        pass


def test_port_0_serves_nothing() -> None:
    before = threading.active_count()
    with health_served(lambda: pytest.fail("nobody looks"), port=0):
        assert threading.active_count() == before


def test_child_serves_while_it_runs_and_the_whole_when_it_is_ready() -> None:
    found = services_of(
        is_ready=False,
        children={
            "worker": {"pid": 7, "restarts": 0, "up_seconds": 1.0},
            "supernode": {"pid": None, "restarts": 3, "up_seconds": None},
        },
    )
    assert found == {"": False, "worker": True, "supernode": False}
