"""Flower's SuperNode on a free port of loopback, in a process that ends when its main loop does.

    python -m client.deploy.supernode_main OPTION ...      options of flower-supernode without --host and --port

Two things of Flower 1.41 that an agent cannot see from outside. A port that was free when the agent started may be
taken when the SuperNode is started again: each life looks for one anew, and says it. And where Flower's main loop ends
by an error (a malformed bundle is enough), its HTTP thread keeps the process alive, which then takes no message ever
again: here the process ends, and is started again.
"""

from __future__ import annotations

import os
import socket
import sys

LOOPBACK = "127.0.0.1"
ANNOUNCEMENT = "Runtime API of process"
"""Begins the line that says where the Runtime API is: `... PID at HOST:PORT`."""


def main() -> None:
    """Run Flower's SuperNode; never returns."""
    from flwr.supercore.logger import update_console_handler
    from flwr.supernode.cli.flower_supernode import flower_supernode

    from client.deploy.pace import pace_supernode
    from common.wire.objects import look_again_soon

    update_console_handler(colored=False)
    pace_supernode()
    look_again_soon()
    port = free_port()
    sys.stdout.write(f"{ANNOUNCEMENT} {os.getpid()} at {LOOPBACK}:{port}\n")
    sys.argv = ["flower-supernode", *sys.argv[1:], "--host", LOOPBACK, "--port", str(port)]
    status = 1
    try:
        flower_supernode()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
