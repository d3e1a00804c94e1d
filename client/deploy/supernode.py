"""Flower's SuperNode as a child of the agent: how it is started, what its log says, and its registration.

The server refuses a SuperNode while it believes that the one before is still there, for up to a minute after that one
was killed. So its node id, which is in its log alone, is kept on disk, and is deactivated before another is started.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import ssl
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.deploy.identity import SiteIdentity
from client.deploy.supernode_main import ANNOUNCEMENT, LOOPBACK
from common.errors import TrustError
from common.files import write_atomically
from common.service.processes import ChildSpec
from common.trust.key_files import read_private, write_private

NAME = "supernode"

_NODE_FILE = "supernode.json"
_SECRET_FILE = "superexec.secret"  # noqa: S105 - a file's name
_HOME = "flower"
_SECRET_BYTES = 32
_DEACTIVATE_SECONDS = 3.0
_ANNOUNCED = re.compile(rf"{ANNOUNCEMENT} (?P<pid>\d+) at (?P<address>{re.escape(LOOPBACK)}:\d+)")
_NODE_ID = re.compile(r"INFO :\s+SuperNode ID: (\d+)")
_log = logging.getLogger("wardround.agent")


@dataclass(frozen=True)
class Endpoint:
    """Where the Runtime API of one life of the SuperNode is.

    Attributes:
        pid: Its process.
        address: Host and port on loopback.
    """

    pid: int
    address: str


@dataclass(frozen=True)
class Trouble:
    """What a line of the SuperNode's log means, in a hospital's words.

    Attributes:
        sign: Part of the line.
        words: What is wrong, and what to do.
    """

    sign: str
    words: str


TROUBLES = (
    Trouble(
        "SSL/TLS handshake error",
        "the server shows a certificate that this site does not believe, or expired; ask the coordinating centre, and "
        "take its newest answer with wardround site join",
    ),
    Trouble(
        "Failed to activate SuperNode",
        "the server does not accept this site: it does not know it yet, or has revoked it; ask the coordinating centre "
        "if this goes on for minutes",
    ),
    Trouble(
        "Connection attempt failed",
        "the server does not answer; look whether this machine reaches it, or ask the coordinating centre",
    ),
)


class SuperNode:
    """The SuperNode over all its lives.

    Args:
        identity: The member that it speaks for.
        folder: Private folder for what it needs while it runs.
    """

    def __init__(self, identity: SiteIdentity, folder: Path) -> None:
        self.secret = secrets.token_bytes(_SECRET_BYTES)
        self.activity = threading.Event()
        """Set with each line of its log: a message may have come."""
        self._identity = identity
        self._folder = folder
        self._node_file = identity.keys.folder / _NODE_FILE
        self._endpoint: Endpoint | None = None
        self._connected = False
        self._trouble: Trouble | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where its Runtime API is; None before it has said so."""
        return self._endpoint

    @property
    def connected(self) -> bool:
        """Whether the server has accepted it, in this life."""
        return self._connected

    def spec(self) -> ChildSpec:
        """How it is started; the secret is written anew.

        Raises:
            TrustError: The secret cannot be written.
        """
        secret_file, home = self._folder / _SECRET_FILE, self._folder / _HOME
        secret_file.unlink(missing_ok=True)
        write_private(secret_file, self.secret)
        home.mkdir(exist_ok=True, mode=0o700)
        identity = self._identity
        return ChildSpec(
            name=NAME,
            command=(
                *(sys.executable, "-P", "-m", "client.deploy.supernode_main"),
                *("--superlink", identity.consortium.address),
                *("--root-certificates", str(identity.roots_file)),
                *("--auth-supernode-private-key", str(identity.node_key_file)),
                *("--isolation", "process"),
                *("--superexec-auth-secret-file", str(secret_file)),
            ),
            environment={"FLWR_HOME": str(home)},
            before_restart=self.prepare,
            on_line=self.read_line,
        )

    def prepare(self) -> None:
        """Forget the life before, and free its registration."""
        self._endpoint, self._connected = None, False
        node_id = self._kept_node_id()
        if node_id is not None and deactivate_stale(self._identity, node_id):
            _log.info("freed the registration of a SuperNode that ended without")

    def read_line(self, line: str) -> None:
        """Learn from a line of its log.

        Later lines hold words of the server's choosing, new lines among them. So both facts are taken once in a life:
        the address from a line that comes before anything else, the node id before the first message can come.
        """
        self.activity.set()
        if self._endpoint is None and (announced := _ANNOUNCED.fullmatch(line)):
            self._endpoint = Endpoint(int(announced["pid"]), announced["address"])
        elif not self._connected and (connected := _NODE_ID.fullmatch(line)):
            write_atomically(self._node_file, json.dumps({"node_id": int(connected[1])}).encode())
            self._connected, self._trouble = True, None
            _log.info("connected to %s", self._identity.consortium.address)
        else:
            self._look_for_trouble(line)

    def _look_for_trouble(self, line: str) -> None:
        for trouble in TROUBLES:
            if trouble.sign in line and trouble != self._trouble:
                self._trouble = trouble
                _log.warning("%s (%s); trying again until it does", trouble.words, self._identity.consortium.address)

    def _kept_node_id(self) -> int | None:
        try:
            node_id = json.loads(self._node_file.read_bytes())["node_id"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return node_id if isinstance(node_id, int) else None


def deactivate_stale(identity: SiteIdentity, node_id: int) -> bool:
    """Tell the server that a SuperNode of this site is no more.

    Returns:
        Whether the server believed that it was still there. False also where the server cannot be asked: after a
        minute it finds out by itself.

    Raises:
        TrustError: The node key cannot be read.
    """
    key = _node_key(identity.node_key_file)
    with FleetHttpClient(
        f"https://{identity.consortium.address}",
        interceptors=[NodeAuthHttpInterceptor(key, key.public_key())],
        verify=ssl.create_default_context(cafile=str(identity.roots_file)),
        timeout=_DEACTIVATE_SECONDS,
    ) as client:
        try:
            client.DeactivateNode(DeactivateNodeRequest(node_id=node_id))
        except httpx.HTTPError:
            return False
    return True


def _node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_ssh_private_key(read_private(path), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TrustError(f"{path}: is no node key; restore it from a backup")
    return key
