"""Flower's processes at the server: how each is started, and the files that they need, none of which lasts.

SERVER_DIR/flower/         Flower's own folder (`FLWR_HOME`)
SERVER_DIR/flower/secret   who may take tasks; made anew at each start, as is the next
SERVER_DIR/flower/token    who may use the Control API
SERVER_DIR/flower/logs/    output of the processes, 20 MiB each at most
"""

from __future__ import annotations

import os
import secrets
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.files import write_atomically
from common.service.processes import ChildSpec
from server.deploy.control import ControlClient
from server.deploy.installation import LOOPBACK, ROOTS_FILE, Installation

SERVER_VARIABLE = "WARDROUND_SERVER"
"""Environment variable that tells the process of a run the server's folder."""

SUPERLINK, SUPEREXEC = "superlink", "superexec"
"""Names of the processes: what sites talk to, and what starts the process of a run."""

_FLOWER_FOLDER = "flower"
_TASK_POLL_SECONDS = "0.25"


@dataclass(frozen=True)
class FlowerFiles:
    """Where Flower's files are.

    Attributes:
        server: The server's folder.
    """

    server: Path

    @property
    def folder(self) -> Path:
        """Flower's own folder (`FLWR_HOME`)."""
        return self.server / _FLOWER_FOLDER

    @property
    def secret(self) -> Path:
        """Who may take tasks."""
        return self.folder / "secret"

    @property
    def token(self) -> Path:
        """Who may use the Control API."""
        return self.folder / "token"

    @property
    def logs(self) -> Path:
        """Output of the processes."""
        return self.folder / "logs"

    def make_secrets(self) -> None:
        """Make new ones; files of mode 0600."""
        for path in (self.secret, self.token):
            write_atomically(path, secrets.token_hex(32).encode())

    def control(self, installation: Installation) -> ControlClient:
        """A client of the server that runs in this folder.

        Raises:
            ControlUnreachable: None runs, or it is another user's.
        """
        return ControlClient.open(
            port=installation.config.control_port, roots_file=self.server / ROOTS_FILE, token_file=self.token
        )


def children(
    config_file: Path, installation: Installation, *, before_superlink: Callable[[], None]
) -> Sequence[ChildSpec]:
    """The processes of a server.

    Args:
        config_file: The consortium's `consortium.yaml`.
        installation: The server's folder.
        before_superlink: Called before each restart of the SuperLink.
    """
    files = FlowerFiles(installation.folder)
    home = {"FLWR_HOME": str(files.folder)}
    # Flower starts the process of a run by name: it shall find the one of this installation.
    scripts = sysconfig.get_path("scripts")
    path = os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)])
    superlink = ChildSpec(
        name=SUPERLINK,
        command=(
            *(sys.executable, "-m", "server.deploy.superlink", "--config", str(config_file.resolve())),
            *("--secret-file", str(files.secret), "--token-file", str(files.token)),
        ),
        environment=home,
        before_restart=before_superlink,
    )
    superexec = ChildSpec(
        name=SUPEREXEC,
        command=(
            *(str(Path(scripts) / "flower-superexec"),),
            *("--runtime-api-address", f"{LOOPBACK}:{installation.config.control_port}"),
            *("--root-certificates", str(installation.folder / ROOTS_FILE)),
            *("--superexec-auth-secret-file", str(files.secret)),
        ),
        environment=home
        | {
            "PATH": path,
            "FLWRSUPEREXEC_TASK_POLL_INTERVAL": _TASK_POLL_SECONDS,
            SERVER_VARIABLE: str(installation.folder),
        },
    )
    return superlink, superexec
