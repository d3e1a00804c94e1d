"""Flower's plain way: its own SuperLink, SuperNodes and apps, as its quickstart starts them; the sites do nothing.

The apps are named by an app folder that is made here; Flower starts a process for each message. No TLS, no node keys:
that is in Flower's favour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from common.errors import CheckFailed
from common.service.quiet import QUIET
from simulations.deployment.loopback import free_ports

NUM_VALUES = 10_000
PROJECT = """\
[project]
name = "plain"
version = "1.0.0"
description = "Sites that do nothing"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "wardround"

[tool.flwr.app.components]
serverapp = "simulations.benchmarks.plain_flower:server_app"
clientapp = "simulations.benchmarks.plain_flower:client_app"

[tool.flwr.app.config]
rounds = {rounds}
sites = {sites}
out = "{out}"
"""

server_app = ServerApp()
client_app = ClientApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Ask every node once a round, and note when each round was over."""
    config = context.run_config
    while len(nodes := list(grid.get_node_ids())) < int(config["sites"]):
        time.sleep(0.2)
    content = RecordDict({"model": ArrayRecord({"w": Array(np.zeros(NUM_VALUES, dtype=np.float32))})})
    with Path(str(config["out"])).open("a", encoding="utf-8") as out:
        for number in range(int(config["rounds"])):
            messages = [Message(content, node, MessageType.TRAIN, group_id=str(number)) for node in nodes]
            list(grid.send_and_receive(messages, timeout=120))
            out.write(f"{time.time()}\n")
            out.flush()


@client_app.train()
def answer(message: Message, context: Context) -> Message:  # noqa: ARG001 - Flower's signature
    """Send back what came."""
    return Message(message.content, reply_to=message)


def round_ends(folder: Path, *, num_sites: int, num_rounds: int) -> list[float]:
    """When each round was over, in seconds of the wall clock.

    Raises:
        CheckFailed: Flower did not get so far.
    """
    port, *node_ports = free_ports(1 + num_sites)
    out, app, home = folder / "rounds.txt", folder / "app", folder / "home"
    app.mkdir()
    home.mkdir()
    (app / "pyproject.toml").write_text(PROJECT.format(rounds=num_rounds, sites=num_sites, out=out))
    (app / "plain.py").write_text('"""An app needs a file."""\n')
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    beside = Path(sys.executable).parent
    environment = {**os.environ, **QUIET, "FLWR_HOME": str(home), "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"}
    with ExitStack() as stack:
        server: list[Path | str] = [
            beside / "flower-superlink",
            "--insecure",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        stack.enter_context(_running([*server, "--disable-runtime-dependency-installation"], environment, folder))
        for node_port in node_ports:
            node: list[Path | str] = [beside / "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"]
            node += ["--host", "127.0.0.1", "--port", str(node_port)]
            stack.enter_context(_running(node, environment, folder))
        _submit([beside / "flwr", "run", app, "here"], environment)
        deadline = time.monotonic() + 60 + 30 * num_rounds
        while time.monotonic() < deadline:
            ends = [float(line) for line in out.read_text().splitlines()] if out.exists() else []
            if len(ends) == num_rounds:
                return ends
            time.sleep(0.2)
    raise CheckFailed(f"Flower's own way did not end {num_rounds} rounds; its output is in {folder}")


def _submit(command: list[Path | str], environment: Mapping[str, str]) -> None:
    for _ in range(60):
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - Flower's command
        if done.returncode == 0:
            return
        time.sleep(0.5)
    raise CheckFailed(f"flwr run: {done.stderr[-500:]}")


@contextmanager
def _running(command: list[Path | str], environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=output, stderr=output)  # noqa: S603 - Flower's command
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
