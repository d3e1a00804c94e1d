"""A real SuperLink on loopback with TLS and node authentication, and a ServerApp that is the test itself."""

from __future__ import annotations

import os
import secrets
import ssl
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.app import Message, RecordDict
from flwr.common.serde import run_from_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from client.deploy.identity import SiteIdentity
from client.deploy.init import create_site, join
from client.deploy.supernode_main import free_port
from common.files import sha256_hex
from common.service.quiet import QUIET
from common.trust.authority import CertificateKey
from common.trust.consortium import Consortium
from common.trust.keys import SigningKey
from tests.client.deploy.centre import Centre
from tests.common.trust.pki import Authority

SUPERLINK = Path(sys.executable).with_name("flower-superlink")


def within(seconds: float, condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@dataclass
class SuperLink:
    """Flower's server, and the centre that it serves."""

    folder: Path
    centre: Centre
    port: int
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def new(cls, folder: Path) -> SuperLink:
        """A centre with certificates for loopback; nothing runs yet."""
        folder.mkdir(parents=True)
        now, port = datetime.now(UTC), free_port()
        authority, server_key = Authority.new(now=now), CertificateKey.generate()
        certificate = authority.server("127.0.0.1", key=server_key, now=now)
        (folder / "ca.crt").write_text(authority.root.pem)
        (folder / "server.crt").write_text(certificate.pem)
        (folder / "server.key").write_bytes(server_key.pem)
        key = SigningKey.create(folder / "signing_key.pem")
        consortium = Consortium(
            name="north-sea",
            version=1,
            hosts=("127.0.0.1",),
            port=port,
            signing_key=key.public.hex,
            roots=(authority.root.pem,),
        )
        link = cls(folder, Centre(folder, key, consortium), port)
        (folder / "secret").write_bytes(link.secret)
        return link

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def output(self) -> Path:
        """What it has written."""
        return self.folder / "superlink.log"

    @property
    def roots(self) -> bytes:
        """Whom to believe."""
        return (self.folder / "ca.crt").read_bytes()

    def start(self) -> None:
        """Start it, and wait until it answers; its database is in memory."""
        command = [
            *(str(SUPERLINK), "--host", "127.0.0.1", "--port", str(self.port), "--enable-supernode-auth"),
            *("--ssl-ca-certfile", "ca.crt", "--ssl-certfile", "server.crt", "--ssl-keyfile", "server.key"),
            *("--isolation", "process", "--superexec-auth-secret-file", "secret"),
            "--disable-runtime-dependency-installation",
        ]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | QUIET | {"FLWR_HOME": str(self.folder / "flower"), "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        within(30, self._answers, self.output.read_text())

    def stop(self) -> None:
        """End it, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            return httpx.get(
                f"https://{self.address}/health", verify=ssl.create_default_context(cadata=self.roots.decode())
            ).is_success
        except httpx.TransportError:
            return False

    @contextmanager
    def control(self) -> Iterator[ControlHttpClient]:
        """Its Control API."""
        with ControlHttpClient.from_server_address(
            self.address, insecure=False, root_certificates=self.roots, interceptors=[]
        ) as client:
            yield client

    def admit(self, state_folder: Path, name: str = "hospital-1") -> SiteIdentity:
        """A new site, admitted by the centre; the SuperLink does not know it yet."""
        now = datetime.now(UTC)
        create_site(
            state_folder, bundle=self.centre.bundle, confirmed=self.centre.consortium.digest, name=name, now=now
        )
        return join(state_folder, self.centre.answer(state_folder / "request.json", now=now), now=now)

    def register(self, identity: SiteIdentity) -> int:
        """Let the SuperLink know a site."""
        key = load_ssh_public_key(identity.keys.node_key.public.openssh.encode())
        with self.control() as control:
            request = RegisterNodeRequest(public_key=public_key_to_bytes(key), name=identity.name)  # type: ignore[arg-type]
            return control.RegisterNode(request).node_id

    def unregister(self, node_id: int) -> None:
        """Let the SuperLink forget a site, as when it is revoked."""
        with self.control() as control:
            control.UnregisterNode(UnregisterNodeRequest(node_id=node_id))

    def node_status(self, node_id: int) -> str:
        """What the SuperLink believes of a site."""
        with self.control() as control:
            nodes = control.ListNodes(ListNodesRequest()).nodes_info
        return next(node.status for node in nodes if node.node_id == node_id)

    @contextmanager
    def server_app(self, bundle: bytes) -> Iterator[ServerApp]:
        """Start a run, and be its ServerApp."""
        with self.control() as control:
            fab = Fab(hash_str=sha256_hex(bundle), content=bundle)
            run_id = control.StartRun(StartRunRequest(fab=fab)).run_id
        auth = SuperExecAuthHttpInterceptor(
            master_secret=self.secret, protected_methods=("/flwr.proto.Runtime/AcquireTask",)
        )
        with self._runtime(auth) as client:
            token = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP])).token
        with self._runtime(RuntimeTokenHttpInterceptor(token)) as task:
            given = task.PullTaskInput(PullTaskInputRequest())
        grid = HttpGrid(self.address, insecure=False, root_certificates=self.roots, token=token)
        grid.set_run(run_from_proto(given.run))
        try:
            yield ServerApp(grid, task_id=given.task_id, run_id=run_id, node_id=given.context.node_id)
        finally:
            grid.close()
            with self.control() as control:
                control.StopRun(StopRunRequest(run_id=run_id))

    def _runtime(self, interceptor: ProtobufClientInterceptor) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            self.address, insecure=False, root_certificates=self.roots, interceptors=[interceptor]
        )


@dataclass(frozen=True)
class ServerApp:
    """A ServerApp in the hands of a test."""

    grid: HttpGrid
    task_id: int
    run_id: int
    node_id: int

    def send(self, node_id: int, records: RecordDict, *, ttl: float = 60.0) -> str:
        """Send a site something, and tell the SuperLink that this ServerApp lives."""
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = self.task_id, self.run_id, self.node_id
        self.grid._runtime_client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        message = Message(records, node_id, "query", ttl=ttl, group_id="1")
        (message_id,) = self.grid.push_messages([message])
        return message_id

    def reply_to(self, message_id: str, *, within_seconds: float = 30.0) -> Message:
        """Wait for its reply."""
        replies: list[Message] = []

        def came() -> bool:
            replies.extend(self.grid.pull_messages([message_id]))
            return bool(replies)

        within(within_seconds, came, "a reply")
        return replies[0]

    def ask(self, node_id: int, records: RecordDict, *, ttl: float = 60.0, within_seconds: float = 30.0) -> Message:
        """Send a site something, and wait for its reply."""
        return self.reply_to(self.send(node_id, records, ttl=ttl), within_seconds=within_seconds)


def bundle_that_writes(trace: Path) -> bytes:
    """A bundle whose code writes a file as soon as anyone imports it."""
    project = """\
[project]
name = "toy"
version = "1.0.0"
description = ""
license = "Apache-2.0"
[tool.flwr.app]
publisher = "wardround"
[tool.flwr.app.components]
serverapp = "toy:app"
clientapp = "toy:app"
[tool.flwr.app.config]
run = "toy"
"""
    code = f"import pathlib\npathlib.Path({str(trace)!r}).write_text('imported')\n"
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("pyproject.toml", project)
        archive.writestr("toy.py", code)
        archive.writestr("bomb.bin", bytes(1 << 20))
    return content.getvalue()
