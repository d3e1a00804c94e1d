"""Flower's SuperNode as a child of the agent: how it is started, what its log says, and its registration.

The server refuses a SuperNode while it believes that the one before is still there, for up to four minutes after
that one was killed. So its node id, which is in its log alone, is kept on disk, and is deactivated before another is
started.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.deploy.fleet import OPEN, SIGN, fleet_client
from client.deploy.identity import SiteIdentity
from client.deploy.supernode_main import ANNOUNCEMENT, LOOPBACK
from client.network.proxy import Proxy
from client.network.way_out import Problem, WayOut
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


REFUSED_SIGN = "Failed to activate SuperNode"
"""Part of the line with which Flower says that the server takes no such node."""

REFUSED_WORDS = (
    "the server does not accept this site: it does not know it yet, or has revoked it; ask the coordinating centre "
    "if this goes on for minutes"
)


class SuperNode:
    """The SuperNode over all its lives.

    Args:
        identity: The member that it speaks for.
        folder: Private folder for what it needs while it runs.
        proxy: The hospital's HTTP proxy; None goes straight.
    """

    def __init__(self, identity: SiteIdentity, folder: Path, *, proxy: Proxy | None = None) -> None:
        self.secret = secrets.token_bytes(_SECRET_BYTES)
        self.activity = threading.Event()
        """Set with each line of its log: a message may have come."""
        self._identity = identity
        self._way = WayOut(address=identity.consortium.address, roots=identity.roots_file, proxy=proxy)
        self._folder = folder
        self._node_file = identity.keys.folder / _NODE_FILE
        self._endpoint: Endpoint | None = None
        self._connected = False
        self._trouble = ""

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
                *("--superlink", self._way.address),
                *("--root-certificates", str(self._way.roots)),
                *(() if self._way.proxy is None else _options_of(self._way.proxy)),
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
        if node_id is not None and deactivate_stale(self._identity, self._way, node_id):
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
            self._connected, self._trouble = True, ""
            _log.info("connected to %s", self._identity.consortium.address)
        else:
            self._look_for_trouble(line)

    def _look_for_trouble(self, line: str) -> None:
        if line == f"{SIGN} {OPEN}" and self._trouble:
            self._trouble = ""
            _log.info("the server answers again")
            return
        words = REFUSED_WORDS if REFUSED_SIGN in line else self._words_of_the_way(line)
        if words and words != self._trouble:
            self._trouble = words
            _log.warning("%s (%s); trying again until it does", words, self._way.address)

    def _words_of_the_way(self, line: str) -> str:
        """What is wrong with the way out; "" where the line does not speak of it."""
        sign, _, word = line.rpartition(" ")
        return self._way.in_words(Problem(word)) if sign == SIGN and word in set(Problem) else ""

    def _kept_node_id(self) -> int | None:
        try:
            node_id = json.loads(self._node_file.read_bytes())["node_id"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return node_id if isinstance(node_id, int) else None


def _options_of(proxy: Proxy) -> tuple[str, ...]:
    """The proxy, for the SuperNode's process; where its login lies, and not the login."""
    return "--proxy", proxy.url, "--proxy-login", proxy.login_file


def deactivate_stale(identity: SiteIdentity, way: WayOut, node_id: int) -> bool:
    """Tell the server that a SuperNode of this site is no more.

    Returns:
        Whether the server believed that it was still there. False also where the server cannot be asked: after four
        minutes it finds out by itself.

    Raises:
        TrustError: The node key cannot be read, or the login of the proxy.
        ConfigError: The file of the login holds something else.
    """
    key = _node_key(identity.node_key_file)
    with fleet_client(way, say=_log.debug)(
        f"https://{way.address}",
        interceptors=[NodeAuthHttpInterceptor(key, key.public_key())],
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
