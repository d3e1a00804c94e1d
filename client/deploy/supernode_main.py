"""Flower's SuperNode on a free port of loopback, in a process that ends when its main loop does.

    python -m client.deploy.supernode_main --superlink ADDRESS --root-certificates FILE [--proxy URL]
        [--proxy-login FILE] OPTION ...      further options of flower-supernode without --host and --port

It reaches the server by the hospital's way out (`client/deploy/fleet.py`), and ends where a run ended before all of its
message was here (`client/deploy/ended_runs.py`). Two more things of Flower 1.41 that an agent
cannot see from outside. A port that was free when the agent started may be taken when the SuperNode is started again:
each life looks for one anew, and says it. And where Flower's main loop ends by an error (a malformed bundle is enough),
its HTTP thread keeps the process alive, which then takes no message ever again: here the process ends, and is started
again.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

LOOPBACK = "127.0.0.1"
ANNOUNCEMENT = "Runtime API of process"
"""Begins the line that says where the Runtime API is: `... PID at HOST:PORT`."""


def main() -> None:
    """Run Flower's SuperNode; never returns."""
    from flwr.supercore.logger import update_console_handler
    from flwr.supernode.cli.flower_supernode import flower_supernode

    from client.deploy.ended_runs import end_with_ended_run
    from client.deploy.fleet import go_out_by
    from client.deploy.pace import pace_supernode
    from client.network.proxy import Proxy
    from client.network.way_out import WayOut
    from common.wire.objects import look_again_soon

    options, others = _parser().parse_known_args()
    proxy = Proxy(url=options.proxy, login_file=options.proxy_login) if options.proxy else None
    update_console_handler(colored=False)
    go_out_by(WayOut(address=options.superlink, roots=options.root_certificates, proxy=proxy))
    pace_supernode()
    end_with_ended_run()
    look_again_soon()
    port = free_port()
    sys.stdout.write(f"{ANNOUNCEMENT} {os.getpid()} at {LOOPBACK}:{port}\n")
    server = ("--superlink", options.superlink, "--root-certificates", str(options.root_certificates))
    sys.argv = ["flower-supernode", *server, *others, "--host", LOOPBACK, "--port", str(port)]
    status = 1
    try:
        flower_supernode()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--superlink", required=True)
    parser.add_argument("--root-certificates", type=Path, required=True)
    parser.add_argument("--proxy", default="")
    parser.add_argument("--proxy-login", default="")
    return parser


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
