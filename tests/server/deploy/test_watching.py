"""A server that runs, as a monitor sees it: metrics, health, and logs that are JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.errors import ConfigError
from server.deploy.config import consortium_yaml
from server.deploy.installation import is_served
from server.deploy.scheduler import RunScheduler
from server.deploy.service import serve
from tests.common.service.children import until
from tests.common.service.ports import free_port, taken_port
from tests.server.deploy.joining import Asking, admitted
from tests.server.deploy.superlinks import new_server

ROOT = Path(__file__).parents[3]
SERVING = health_pb2.HealthCheckResponse.SERVING


def server_with(folder: Path, **ports: int) -> Path:
    """The config file of a server whose other ports are free."""
    made = new_server(folder)
    path = folder / "consortium.yaml"
    path.write_text(consortium_yaml(replace(made.config, **ports)))
    now = datetime.now(UTC)
    asking = Asking.new(folder.parent / "site")
    admitted(made, asking.request(made, "north", now=now), now=now)
    return path


@contextmanager
def started(config_file: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import wardround; wardround.main()"
    command = [sys.executable, "-c", script, "server", "start", "--config", str(config_file)]
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=config_file.parent)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(30) == 0


def is_serving(port: int, service: str) -> bool:
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            request = health_pb2.HealthCheckRequest(service=service)
            return bool(health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status == SERVING)
    except grpc.RpcError:
        return False


def scraped(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_server_that_runs_is_ready_for_a_monitor(tmp_path: Path) -> None:
    metrics_port, health_port = free_port(), free_port()
    config_file, output = (
        server_with(tmp_path / "server", metrics_port=metrics_port, health_port=health_port),
        tmp_path / "output",
    )
    with started(config_file, output):
        until(lambda: is_serving(health_port, ""), seconds=60)
        assert is_serving(health_port, "superlink")
        assert is_serving(health_port, "superexec")
        found = scraped(metrics_port)
        until(
            lambda: b'"process": "superexec"' in output.read_bytes(), seconds=60
        )  # it is up before it has a word to say
    assert found["wardround_ready"] == 1
    assert (found["wardround_sites_present"], found["wardround_sites_connected"]) == (1, 0)
    assert found['wardround_child_up{child="superlink"}'] == 1
    entries = [json.loads(line) for line in output.read_text().splitlines()]
    assert {entry["process"] for entry in entries} == {"server", "superlink", "superexec"}
    assert any(entry["message"].startswith("serving sites on ") for entry in entries)


@pytest.mark.parametrize("key", ["metrics_port", "health_port"])
def test_taken_port_ends_a_server_before_anything_runs(tmp_path: Path, key: str) -> None:
    with taken_port() as port:
        config_file = server_with(tmp_path / "server", **{key: port})
        with pytest.raises(ConfigError, match=f"{key}={port}: cannot be listened on"):
            serve(config_file, scheduler_of=RunScheduler)
    assert not is_served(config_file.parent)
    assert not list((config_file.parent / "flower").glob("logs/*"))
