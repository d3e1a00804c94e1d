"""A real SuperLink process on loopback, and calls to it as a site, a stranger or an intruder would make them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from google.protobuf.message import Message

from common.service.quiet import QUIET
from server.deploy.config import consortium_yaml
from server.deploy.control import ControlClient, ControlUnreachable
from server.deploy.flower_processes import FlowerFiles
from server.deploy.init import create_consortium
from server.deploy.installation import Installation, read_installation
from tests.common.service.children import until

PROTOBUF = "application/protobuf"


def free_port() -> int:
    """A port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def new_server(folder: Path, *, hosts: tuple[str, ...] = ("localhost",), now: datetime | None = None) -> Installation:
    """A consortium whose ports are free."""
    made = create_consortium(
        folder, name="north-sea", hosts=list(hosts), port=free_port(), now=now or datetime.now(UTC)
    )
    config = replace(made.config, control_port=free_port(), metrics_port=0, health_port=0)
    (folder / "consortium.yaml").write_text(consortium_yaml(config))
    return read_installation(folder / "consortium.yaml")


@dataclass(frozen=True)
class SuperLink:
    """A SuperLink that runs.

    Attributes:
        installation: Its folder.
        process: It.
        control: A client of it.
    """

    installation: Installation
    process: subprocess.Popen[str]
    control: ControlClient

    @property
    def public(self) -> str:
        """Address of the listener that sites reach."""
        return f"https://localhost:{self.installation.config.port}"

    @property
    def private(self) -> str:
        """Address of the listener on loopback."""
        return f"https://127.0.0.1:{self.installation.config.control_port}"

    @property
    def context(self) -> ssl.SSLContext:
        """TLS as a site does it."""
        return ssl.create_default_context(cadata="".join(self.installation.consortium.roots))

    def client(self) -> httpx.Client:
        """A site's HTTP."""
        return httpx.Client(verify=self.context, timeout=10, follow_redirects=False)


@contextmanager
def started(installation: Installation) -> Iterator[subprocess.Popen[str]]:
    """Run a SuperLink for the block, which begins when its public port takes connections."""
    files, log = FlowerFiles(installation.folder), installation.folder / "output"
    files.make_secrets()
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "server.deploy.superlink"),
                *("--config", str(installation.folder / "consortium.yaml")),
                *("--secret-file", str(files.secret), "--token-file", str(files.token)),
            ],
            cwd=Path(__file__).parents[3],
            env=dict(QUIET) | {"FLWR_HOME": str(files.folder), "PATH": ""},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        until(lambda: takes_connections(installation.config.port), seconds=30)
        yield process
    finally:
        process.terminate()
        assert process.wait(10) == 0, log.read_text()


@contextmanager
def running(installation: Installation) -> Iterator[SuperLink]:
    """Run a SuperLink for the block, which begins when it answers."""
    with started(installation) as process, FlowerFiles(installation.folder).control(installation) as control:
        until(lambda: answers(control), seconds=30)
        yield SuperLink(installation, process, control)


def takes_connections(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except ConnectionRefusedError:
        return False


def answers(control: ControlClient) -> bool:
    """Whether a SuperLink answers."""
    try:
        control.nodes()
    except ControlUnreachable:
        return False
    return True


def node_headers(key: ec.EllipticCurvePrivateKey, *, age: timedelta = timedelta()) -> dict[str, str]:
    """Headers with which a node proves its key, signed some time ago."""
    time_text = (datetime.now(UTC) - age).isoformat()
    return {
        "content-type": PROTOBUF,
        FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(public_key_to_bytes(key.public_key())).decode(),
        TIMESTAMP_HEADER: time_text,
        FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(key, time_text.encode())).decode(),
    }


def call(
    link: SuperLink, path: str, message: Message, headers: dict[str, str], *, address: str | None = None
) -> httpx.Response:
    """POST a message to the public listener, or to another address."""
    with link.client() as client:
        return client.post((address or link.public) + path, content=message.SerializeToString(), headers=headers)
