"""`wardround server start`: the server, in the foreground, for a service manager or a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.service.log_format import log_as_json
from server.deploy.config import CONFIG_FILE
from server.deploy.scheduler import RunScheduler
from server.deploy.service import serve


def start_command(
    *,
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The consortium's consortium.yaml.")] = Path(
        CONFIG_FILE
    ),
) -> None:
    """Serve the sites until SIGTERM or Ctrl-C; what ends in between is started again.

    Logs go to standard error, one JSON object a line. Exits with 4 where a certificate has expired or the folder cannot
    be believed, with 2 where a server runs in this folder already or a port is taken.
    """
    log_as_json("server")
    serve(config, scheduler_of=RunScheduler)
