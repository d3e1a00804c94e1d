"""The process that sites talk to: Flower's SuperLink, once, behind two listeners.

    python -m server.deploy.superlink --config consortium.yaml --secret-file F --token-file F

Sites reach `port` on every address of the machine, and there what `server/deploy/sites_only.py` lets through. All of
Flower's APIs are on 127.0.0.1:`control_port`; the Control API asks for the token, and who takes tasks for the secret.

- **State is in memory.** Updates of hospitals shall not lie on a disk, and they stay in the free pages of an SQLite
  file. A crash costs the round in flight; the run is submitted anew and goes on from its checkpoint.
- **Nodes are authenticated**: each call is signed with a site's node key over the time (Flower takes it for 305 s), and
  a node is one that the centre registered.
- **A line may be slow, and down for two minutes** (`server/deploy/link_state.py`).
- **Isolation is "process"**: this process runs no code of a run. It starts no Python, installs nothing, calls nobody.

Exits with 2 where a port is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from common.errors import WardroundError
from common.service.log_format import log_as_json
from common.service.quiet import QUIET
from common.trust.key_files import read_private
from server.deploy.config import ConsortiumConfig, read_consortium_config
from server.deploy.gate import Bounds
from server.deploy.installation import LOOPBACK, ROOTS_FILE, SERVER_FILE
from server.deploy.listeners import Listener, bind, serve, tls_config
from server.deploy.sites_only import Application, SitesOnly

BOUNDS = Bounds()
"""Of all sites together; a node holds one or two connections, and ten while it sends a model."""
_EXPIRED = "Message TTL has expired"
_POLLS = frozenset({"ControlServicer.ListRuns", "ControlServicer.ListNodes"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    os.environ.update(QUIET)
    try:
        config, folder = read_consortium_config(options.config), options.config.resolve().parent
        application = flower_application(
            config,
            folder,
            secret=read_private(options.secret_file),
            token=read_private(options.token_file).decode(),
        )
        listeners = _listeners(config, application, certificate=folder / SERVER_FILE)
        asyncio.run(serve(listeners, certificate=folder / SERVER_FILE))
    except WardroundError as error:
        sys.stderr.write(f"superlink: {error}\n")
        return error.exit_code
    return 0


def flower_application(config: ConsortiumConfig, folder: Path, *, secret: bytes, token: str) -> Application:
    """Flower's SuperLink.

    Args:
        config: The consortium's server.
        folder: Its folder.
        secret: What signs the requests of who takes tasks.
        token: What the Control API asks for.
    """
    # After QUIET was set: Flower reads it when it is imported.
    from flwr.common.constant import ISOLATION_MODE_PROCESS, TRANSPORT_TYPE_GRPC_RERE
    from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
    from flwr.supercore.http_logging import RoutineAccessFilter
    from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
    from flwr.superlink.config_loader import SuperLinkLifespanConfig
    from flwr.superlink.main import create_app

    from server.deploy.control_token import ControlToken
    from server.deploy.link_state import be_patient

    log_as_json("superlink")
    be_patient()
    logging.getLogger("flwr").addFilter(is_no_poll)
    logging.getLogger("flwr").addFilter(late_in_words)
    logging.getLogger("uvicorn.access").addFilter(_is_no_control_call)
    logging.getLogger("uvicorn.access").addFilter(RoutineAccessFilter())
    server_file, roots_file = str(folder / SERVER_FILE), str(folder / ROOTS_FILE)
    return create_app(
        SuperLinkLifespanConfig(
            host=LOOPBACK,
            port=config.control_port,
            insecure=False,
            ssl_ca_certfile=roots_file,
            ssl_certfile=server_file,
            ssl_keyfile=server_file,
            database=FLWR_IN_MEMORY_DB_NAME,
            isolation=ISOLATION_MODE_PROCESS,
            enable_supernode_auth=True,
            superexec_auth_secret=secret,
            authn_plugin=ControlToken(token),
            runtime_dependency_install=False,
            simulation=False,
            fleet_api_type=TRANSPORT_TYPE_GRPC_RERE,
            # The gRPC servers of earlier releases, which start only where an environment variable says so.
            certificates=None,
            control_address="",
            fleet_api_address=None,
            health_server_address=None,
            event_log_plugin=None,
            fleet_event_log_plugin=None,
            enable_event_log=False,
            artifact_provider=None,
        ),
        SuperLinkLifespan,
    )


def _listeners(config: ConsortiumConfig, application: Application, *, certificate: Path) -> list[Listener]:
    control = tls_config(application, certificate=certificate, lifespan="on")
    public = tls_config(SitesOnly(application), certificate=certificate, lifespan="off", most_open=BOUNDS.open)
    return [
        Listener(control, bind(LOOPBACK, config.control_port)),
        Listener(public, bind("", config.port), bounds=BOUNDS),
    ]


def is_no_poll(record: logging.LogRecord) -> bool:
    """Whether Flower says more than that the supervisor has looked, as it does every second."""
    return str(record.msg) not in _POLLS  # Flower logs lists, too


def late_in_words(record: logging.LogRecord) -> bool:
    """Let every line pass; Flower's list of what is wrong with a late answer becomes one that says so."""
    if isinstance(record.msg, list) and _EXPIRED in record.msg:
        record.msg = "an answer came after its question had expired; it is left out, and its site is asked again"
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True


def _is_no_control_call(record: logging.LogRecord) -> bool:
    """Whether a line of the access log is of another call than one of the Control API, of which Flower tells itself."""
    return not (isinstance(record.args, tuple) and str(record.args[2]).startswith("/v1/control/"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server.deploy.superlink", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
