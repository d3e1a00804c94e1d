"""`wardround server run`, `stop` and `resume`: what they ask of a server that runs, and what they show of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from common.console import Terminal
from common.errors import ConfigError, WardroundError
from server.deploy.config import CONFIG_FILE
from server.deploy.installation import is_served, read_installation
from server.deploy.run_view import RunView
from server.deploy.runs import Ending, Outcome, RunFolder, Wanted, find_run, new_run, wait_for_news
from server.report import sentences
from server.report.fairness.release_words import passed
from server.report.summary import REPORT_FILE, SUMMARY_FILE

ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="The consortium's consortium.yaml.")]
Key = Annotated[str, typer.Argument(metavar="RUN", help="Key of the run, or the beginning of it.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the server goes on.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")]

NEWS_SECONDS = 1.0


class RunEnded(WardroundError):
    """The run that was followed ended without its result, or with one that must not be published."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_command(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="What wardround bundle made, and hospitals approve.")
    ],
    *,
    config: ConfigFile = Path(CONFIG_FILE),
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Hand a run to the server, and follow it to its end.

    The server goes on by itself: interrupting this command, or losing the connection, stops nothing.
    """
    folder = read_installation(config).folder
    check_served(folder)
    run = new_run(folder, bundle)
    _follow(run, from_byte=0, detach=detach, as_json=as_json)


def resume_command(
    key: Key, *, config: ConfigFile = Path(CONFIG_FILE), detach: Detach = False, as_json: AsJson = False
) -> None:
    """Go on with a run that was stopped or has failed, from its last checkpoint; or follow one that goes on."""
    folder = read_installation(config).folder
    check_served(folder)
    run = find_run(folder, key)
    if run.outcome is not None and run.outcome.ending is Ending.COMPLETED:
        raise ConfigError(f"{run.key}: has completed; its report is {run.path / REPORT_FILE}")
    _, seen = run.follow()
    run.want(Wanted.RUN)
    _follow(run, from_byte=seen, detach=detach, as_json=as_json)


def stop_command(key: Key, *, config: ConfigFile = Path(CONFIG_FILE)) -> None:
    """Stop a run after the round in flight; what it has learned and spent is reported, and it can be gone on with."""
    run = find_run(read_installation(config).folder, key)
    if run.outcome is not None:
        raise ConfigError(f"{run.key}: has ended already ({run.outcome.ending})")
    run.want(Wanted.STOP)
    typer.echo(f"{run.key}: stops after the round in flight; wardround server status shows when it has")


def check_served(folder: Path) -> None:
    """Return where a server runs in a folder.

    Raises:
        ConfigError: None does.
    """
    if not is_served(folder):
        raise ConfigError(f"{folder}: its server does not run; start it with wardround server start")


def _follow(run: RunFolder, *, from_byte: int, detach: bool, as_json: bool) -> None:
    if detach:
        typer.echo(f"{run.key}: handed to the server; its folder is {run.path}")
        return
    outcome = _watched(run, from_byte)
    summary = _summary_of(run)
    if as_json and summary is not None:
        typer.echo(summary)
    if outcome.ending is not Ending.COMPLETED:
        raise RunEnded(f"{run.key}: {outcome.ending}: {outcome.reason}", exit_code=outcome.exit_code)
    if not as_json:
        for told in _told(summary):
            typer.echo(told)
        typer.echo(f"Report: {run.path / REPORT_FILE}")
    if outcome.reason is not None:
        raise RunEnded(f"{run.key}: {outcome.reason}", exit_code=outcome.exit_code)


def _told(summary: str | None) -> list[str]:
    """What a person should read of a summary, a sentence each."""
    if summary is None:
        return []
    found = json.loads(summary)
    told = (sentences.stepped_back(found), sentences.helped(found), sentences.served_worse(found), passed(found))
    return [*(sentence for sentence in told if sentence is not None), *sentences.resting(found)]


def _summary_of(run: RunFolder) -> str | None:
    """What is known of a run, as JSON; None where it ended before anything was."""
    path = run.path / SUMMARY_FILE
    return path.read_text(encoding="utf-8") if path.exists() else None


def _watched(run: RunFolder, byte: int) -> Outcome:
    """Show what happens until the run has ended."""
    rounds = run.bundle().config.federation.rounds
    view = RunView(Terminal(stderr=True), rounds=rounds)
    with view.progress:
        while True:
            outcome = run.outcome
            events, byte = wait_for_news(run, byte, seconds=0.0 if outcome else NEWS_SECONDS)
            for event in events:
                view.show(event)
            view.tick()
            if outcome is not None:
                return outcome
