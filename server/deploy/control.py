"""Flower's Control API on this machine: runs are handed over, nodes registered. Nothing of Flower gets past this file.

The certificate names 127.0.0.1 beside the server's hosts, so TLS is checked here as at the sites, against the
consortium's roots. Flower's other interceptors are left out: one ends the process when versions differ, and both ends
are of one installation; the other logs accounts in, and there are none.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)
from flwr.common.constant import Status
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.constant import NodeStatus
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext

from common.errors import WardroundError
from common.files import sha256_hex
from server.deploy.installation import LOOPBACK

_SECONDS = 10.0
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""How OpenSSL's word for it ends up in the transport's error, which has no type of its own for it."""


class ControlError(WardroundError):
    """The Control API refused, or answered what cannot be."""

    reason = "control"


class ControlUnreachable(ControlError):
    """Nothing answers as the Control API: it starts, has ended, or its certificate does not hold."""


class RunState(StrEnum):
    """Where a run stands for Flower."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
    """This life of the SuperLink has never heard of it."""

    @property
    def is_alive(self) -> bool:
        """Whether it has yet to end."""
        return self in {RunState.PENDING, RunState.STARTING, RunState.RUNNING}


@dataclass(frozen=True, kw_only=True)
class Node:
    """A registered node.

    Attributes:
        id: Flower's number of it, another one in each life of the SuperLink.
        key: Its public key, as one line of OpenSSH.
        name: Its site's.
        online: Whether it was heard of lately.
    """

    id: int
    key: str
    name: str
    online: bool


class NodeRegistry(Protocol):
    """Where nodes are registered."""

    def nodes(self) -> tuple[Node, ...]:
        """Those that are registered now."""
        ...

    def register(self, key: str, *, name: str) -> int:
        """Let the holder of a key in; its node's number."""
        ...

    def unregister(self, node_id: int) -> None:
        """Let it in no more."""
        ...


class ControlClient:
    """Calls the Control API.

    Args:
        port: Its port on 127.0.0.1.
        roots: What its certificate has to lead to, in PEM form.
        token: What it asks for.
    """

    def __init__(self, *, port: int, roots: str, token: str) -> None:
        self._client = ControlHttpClient(
            f"https://{LOOPBACK}:{port}",
            interceptors=[_Bearer(token)],
            verify=ssl.create_default_context(cadata=roots),
            timeout=_SECONDS,
        )

    @classmethod
    def open(cls, *, port: int, roots_file: Path, token_file: Path) -> Self:
        """A client, from the files in a server's folder.

        Raises:
            ControlUnreachable: There is no token: no server runs in this folder, or it is another user's.
        """
        try:
            return cls(port=port, roots=roots_file.read_text(), token=token_file.read_text())
        except OSError as error:
            raise ControlUnreachable(
                f"{error.filename}: cannot be read ({error.strerror}); start the server with wardround server start"
            ) from error

    def __enter__(self) -> Self:
        """It."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def submit(self, app: bytes) -> int:
        """Hand over an app; the number of its run.

        Raises:
            ControlError: It is refused.
        """
        with _errors("submit a run"):
            response = self._client.StartRun(StartRunRequest(fab=Fab(hash_str=sha256_hex(app), content=app)))
        if not response.run_id:
            raise ControlError("submit a run: Flower takes no bundle of more than 10 MiB; make a smaller one")
        return int(response.run_id)

    def run_state(self, run_id: int) -> RunState:
        """Where a run stands."""
        try:
            with _errors("look at a run"):
                status = self._client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict[run_id].status
        except _NoSuchRun:
            return RunState.UNKNOWN
        return RunState(status.sub_status if status.status == Status.FINISHED else status.status)

    def is_alive(self, run_id: int) -> bool:
        """Whether a run has yet to end."""
        return self.run_state(run_id).is_alive

    def stop(self, run_id: int) -> None:
        """End a run; one that has ended, or was never there, stays as it is."""
        try:
            with _errors("stop a run"):
                self._client.StopRun(StopRunRequest(run_id=run_id))
        except _NoSuchRun:
            return

    def nodes(self) -> tuple[Node, ...]:
        """Those that are registered now."""
        with _errors("list the nodes"):
            found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return tuple(
            Node(
                id=info.node_id,
                key=openssh_of(info.public_key),
                name=info.name,
                online=info.status == NodeStatus.ONLINE,
            )
            for info in found
            if info.status != NodeStatus.UNREGISTERED
        )

    def register(self, key: str, *, name: str) -> int:
        """Let the holder of a key in; its node's number.

        Args:
            key: Public node key, as one line of OpenSSH.
            name: Its site's.

        Raises:
            ControlError: The key is no node key, or was registered in this life of the SuperLink before.
        """
        with _errors(f"register {name}"):
            return int(self._client.RegisterNode(RegisterNodeRequest(public_key=_pem(key), name=name)).node_id)

    def unregister(self, node_id: int) -> None:
        """Let a node in no more: its next call is refused. Its key cannot be registered again in this life."""
        with _errors("unregister a node"):
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node_id))


class _NoSuchRun(ControlError):
    """The run is not known, or has ended."""


class _Bearer:
    """Shows the token with each call."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        context.request.headers["authorization"] = self._value
        return call_next(context)


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    """Turn what Flower and its transport raise into one line of ours."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise _refusal(doing, error.response) from error
    except httpx.TransportError as error:
        why = "its certificate does not hold" if _UNTRUSTED in str(error) else type(error).__name__
        raise ControlUnreachable(f"{doing}: the Control API cannot be reached ({why})") from error
    except (KeyError, ValueError) as error:
        raise ControlError(f"{doing}: the Control API answered what cannot be ({type(error).__name__})") from error


def _refusal(doing: str, response: httpx.Response) -> ControlError:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return ControlError(f"{doing}: the token is not that of the server that runs; start the server again")
    error = FlowerError.from_json(response.text)
    if error is None:
        return ControlError(f"{doing}: refused with status {response.status_code}")
    text = f"{doing}: refused, {error.message.partition(chr(10))[0][:200]}"
    if error.code in {ApiErrorCode.RUN_ID_NOT_FOUND, ApiErrorCode.RUN_ALREADY_FINISHED}:
        return _NoSuchRun(text)
    return ControlError(text)


def _pem(openssh: str) -> bytes:
    """A public key as Flower keeps it."""
    return load_ssh_public_key(openssh.encode()).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def openssh_of(pem: bytes) -> str:
    """A public key as the member list has it; what is no key, as it is."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return pem.decode(errors="replace")
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
