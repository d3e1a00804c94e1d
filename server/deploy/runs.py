"""The server's runs as folders: what was wanted of each, what it does, and how it ended.

A run's folder is `runs/KEY` in the server's folder, where KEY is the beginning of its config digest. It holds, beside
what every run folder holds:

    run.bundle      what hospitals approved
    request.json    what the coordinating centre wants: that it runs, stops after the round in flight, or is open
    progress.jsonl  what happened so far, a line an event, for whoever watches
    outcome.json    how it ended; a run without one goes on, whatever is killed in between
    run.log         what its process logs, in JSON lines
    .lock           held by the one process that runs it

Each file is written whole or not at all, so that any process may read any of them at any time.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from common.bundle import Bundle, read_bundle
from common.errors import CheckpointError, ConfigError
from common.files import write_atomically

RUNS_FOLDER = "runs"
BUNDLE_FILE = "run.bundle"
REQUEST_FILE = "request.json"
PROGRESS_FILE = "progress.jsonl"
OUTCOME_FILE = "outcome.json"
LOG_FILE = "run.log"
LOCK_FILE = ".lock"
KEY_LENGTH = 16
SEARCH_OPENED = "search_opened"
"""What watchers of a run are told once hospitals can search by its channel."""


class Wanted(StrEnum):
    """What the coordinating centre wants of a run."""

    RUN = "run"
    STOP = "stop"
    SEARCH = "search"
    """It has completed; hospitals search by its channel."""


class Ending(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


class Standing(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended, and why.

    Attributes:
        ending: How.
        reason: One line; None where it completed with a model that may be published.
        exit_code: Of the command that follows the run.
    """

    ending: Ending
    reason: str | None
    exit_code: int


@dataclass(frozen=True)
class RunFolder:
    """One run.

    Attributes:
        path: Its folder.
    """

    path: Path

    @property
    def key(self) -> str:
        """What people call it."""
        return self.path.name

    def bundle(self) -> Bundle:
        """What hospitals approved.

        Raises:
            TrustError: It was damaged or exchanged.
        """
        return read_bundle(self.path / BUNDLE_FILE)

    @property
    def requested_at(self) -> str:
        """When it was first asked for (ISO 8601, UTC)."""
        return str(self._request()["since"])

    @property
    def wanted(self) -> Wanted:
        """What the coordinating centre wants."""
        return Wanted(self._request()["wanted"])

    def want(self, wanted: Wanted) -> None:
        """Ask for something else; a run that ended is taken up again where it is wanted to run."""
        since = self.requested_at if (self.path / REQUEST_FILE).exists() else _now()
        write_atomically(self.path / REQUEST_FILE, json.dumps({"wanted": wanted, "since": since}).encode())
        if wanted is Wanted.RUN:
            (self.path / OUTCOME_FILE).unlink(missing_ok=True)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it goes on."""
        try:
            said = json.loads((self.path / OUTCOME_FILE).read_bytes())
        except FileNotFoundError:
            return None
        return Outcome(ending=Ending(said["ending"]), reason=said["reason"], exit_code=int(said["exit_code"]))

    def end(self, outcome: Outcome) -> None:
        """Write how it ended."""
        said = {
            "ending": outcome.ending,
            "reason": outcome.reason,
            "exit_code": outcome.exit_code,
            "time": _now(),
        }
        write_atomically(self.path / OUTCOME_FILE, json.dumps(said).encode())

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        if (outcome := self.outcome) is not None:
            return Standing(outcome.ending)
        if self.wanted is Wanted.STOP:
            return Standing.STOPPING
        return Standing.RUNNING if self.is_held else Standing.WAITING

    @property
    def is_held(self) -> bool:
        """Whether a process runs it now."""
        try:
            with self.alone():
                return False
        except CheckpointError:
            return True

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process from running it, for the block; a process that is killed lets go.

        Raises:
            CheckpointError: Another one runs it.
        """
        descriptor = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise CheckpointError(f"{self.path}: another process runs it; wait until that one has ended") from error
        finally:
            os.close(descriptor)

    def note(self, event: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        """Add an event to what watchers read; a line lost to a crash costs them nothing but a line."""
        line = json.dumps({"time": _now(), "event": event, **fields})
        with (self.path / PROGRESS_FILE).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def follow(self, *, from_byte: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The events since a byte, and the byte after the last whole one."""
        try:
            with (self.path / PROGRESS_FILE).open("rb") as file:
                file.seek(from_byte)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return [], from_byte
        lines = [line for line in whole.split(b"\n") if line]
        return [json.loads(line) for line in lines], from_byte + len(whole) + len(newline)

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = json.loads((self.path / REQUEST_FILE).read_bytes())
        return request


def key_of(config_digest: str) -> str:
    """The key of a run."""
    return config_digest[:KEY_LENGTH]


def run_of(server_folder: Path, config_digest: str) -> RunFolder:
    """The folder of a run."""
    return RunFolder(server_folder / RUNS_FOLDER / key_of(config_digest))


def new_run(server_folder: Path, bundle_file: Path) -> RunFolder:
    """A folder for a bundle's run, wanted to run.

    Raises:
        ConfigError: This run is there already.
        TrustError: The bundle does not hold.
    """
    bundle = read_bundle(bundle_file)
    run = run_of(server_folder, bundle.run)
    if (run.path / REQUEST_FILE).exists():
        raise ConfigError(
            f"{bundle_file}: its run {run.key} is {run.standing} already; wardround server resume {run.key} goes on "
            "with one that ended, and another seed makes another run"
        )
    write_atomically(run.path / BUNDLE_FILE, bundle_file.read_bytes())
    run.want(Wanted.RUN)
    return run


def all_runs(server_folder: Path) -> list[RunFolder]:
    """Every run, the oldest first."""
    found = [RunFolder(path.parent) for path in (server_folder / RUNS_FOLDER).glob(f"*/{REQUEST_FILE}")]
    return sorted(found, key=lambda run: (run.requested_at, run.key))


def find_run(server_folder: Path, key: str) -> RunFolder:
    """The run whose key begins so.

    Raises:
        ConfigError: There is none, or more than one.
    """
    found = [run for run in all_runs(server_folder) if run.key.startswith(key)]
    if len(found) != 1:
        known = ", ".join(run.key for run in all_runs(server_folder)) or "there is none yet"
        raise ConfigError(f"{key}: names {'no run' if not found else 'several runs'}; give one of: {known}")
    return found[0]


def wait_for_news(run: RunFolder, from_byte: int, *, seconds: float) -> tuple[list[dict[str, Any]], int]:
    """Events as `follow` gives them; where there are none, whatever comes within some seconds."""
    deadline = time.monotonic() + seconds
    events, byte = run.follow(from_byte=from_byte)
    while not events and time.monotonic() < deadline:
        time.sleep(0.1)
        events, byte = run.follow(from_byte=from_byte)
    return events, byte


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
