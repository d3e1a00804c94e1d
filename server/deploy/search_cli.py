"""`wardround server search`: what it asks of a server that runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from common.errors import ConfigError
from common.service.ports import OFF
from server.deploy.config import CONFIG_FILE
from server.deploy.installation import read_installation
from server.deploy.run_cli import ConfigFile, Key, check_served
from server.deploy.runs import LOG_FILE, SEARCH_OPENED, Ending, RunFolder, Wanted, find_run, wait_for_news

OPEN_SECONDS = 120.0
"""How long it is waited for that the channel opens: a new process, and the import of torch."""

CLOSE_SECONDS = 60.0


def search_command(
    key: Key,
    *,
    config: ConfigFile = Path(CONFIG_FILE),
    close: Annotated[bool, typer.Option("--close", help="Close it again.")] = False,
) -> None:
    """Let hospitals search each other's studies by the channel of a completed run.

    The server goes on by itself and opens the channel again whenever it was cut off; a run that is wanted goes first.
    Each hospital's own policy says whom it answers. Exits with 2 where the run has not completed, or no search_port is
    set.
    """
    installation = read_installation(config)
    run = find_run(installation.folder, key)
    if close:
        if run.wanted is Wanted.SEARCH:
            run.want(Wanted.STOP)
        _wait_until_closed(run)
        typer.echo(f"Run {run.key} is closed for searching.")
        return
    if installation.config.search_port == OFF:
        raise ConfigError(f"{config}: search_port is not set; give a port that hospitals reach")
    outcome = run.outcome
    if outcome is None or outcome.ending is not Ending.COMPLETED:
        raise ConfigError(f"run {run.key} is {run.standing}; only a run that has completed is opened for searching")
    check_served(installation.folder)
    _, byte = run.follow()
    run.want(Wanted.SEARCH)
    _wait_until_open(run, byte)
    typer.echo(f"Run {run.key} is open for searching at port {installation.config.search_port}.")


def _wait_until_open(run: RunFolder, byte: int) -> None:
    """Return when the channel is open.

    Raises:
        ConfigError: It does not open in time.
    """
    end = time.monotonic() + OPEN_SECONDS
    while time.monotonic() < end:
        events, byte = wait_for_news(run, byte, seconds=1.0)
        if any(event["event"] == SEARCH_OPENED for event in events):
            return
    raise ConfigError(
        f"run {run.key} is not open yet: another run goes on, the port is taken, or the server is busy; it opens when "
        f"it can, and {run.path / LOG_FILE} says what keeps it"
    )


def _wait_until_closed(run: RunFolder) -> None:
    """Return when nobody holds the run any more.

    Raises:
        ConfigError: Somebody still does.
    """
    end = time.monotonic() + CLOSE_SECONDS
    while run.is_held:
        if time.monotonic() > end:
            raise ConfigError(
                f"run {run.key} is still open after {CLOSE_SECONDS:.0f} s; it ends with its last question"
            )
        time.sleep(0.2)
