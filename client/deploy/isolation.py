"""Takes the network away from a child process, where the platform allows: what reads patients' data needs none.

On Linux by `unshare(1)`: a network namespace of its own (network_namespaces(7)), which holds a loopback device that is
down, and nothing else. A Unix socket is a file, and goes on working. A user who is not root needs user namespaces for
it (user_namespaces(7)), which some systems and most containers forbid. Root keeps its own user namespace: in a new one
it could not read what other users own.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence

_ROOT = ("unshare", "--net", "--")
_USER = ("unshare", "--user", "--map-current-user", "--net", "--")
_PROBE = "import socket, sys; sys.exit([name for _, name in socket.if_nameindex()] != ['lo'])"
_PROBE_SECONDS = 10.0
_log = logging.getLogger("wardround.isolation")


def without_network() -> tuple[str, ...]:
    """The beginning of a command line that runs the rest without a network; nothing where that is not possible.

    Tried out once, on a child that looks which devices it has. What was found is said in the log.
    """
    prefix = _ROOT if os.geteuid() == 0 else _USER
    problem = _probe(prefix)
    if problem is None:
        _log.info("the worker runs without a network (%s)", " ".join(prefix[:-1]))
        return prefix
    _log.warning(
        "the worker runs WITH the network of this machine: %s cannot take it away (%s); allow user namespaces, or keep "
        "the worker's user from the network with a firewall",
        " ".join(prefix[:-1]),
        problem,
    )
    return ()


def _probe(prefix: Sequence[str]) -> str | None:
    """What stands against it."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            [*prefix, sys.executable, "-I", "-S", "-c", _PROBE],
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    if done.returncode == 0:
        return None
    return done.stderr.decode(errors="replace").strip() or "a device is left"
