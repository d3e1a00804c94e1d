"""The run's state after each round, in one file that is whole or absent: a crash costs at most the round in flight."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.errors import CheckpointError
from common.files import replaced_atomically, write_atomically
from common.wire.update import NamedArrays

FILE = Path("checkpoint") / "state.safetensors"
ASKED_FILE = Path("checkpoint") / "asked.json"
KINDS = ("model", "aggregator", "optimizer", "best")
"""Kinds of arrays."""
_FORMAT = "1"


@dataclass
class SiteHistory:
    """What the server knows of one site.

    Attributes:
        patients_band: Band of its training patients.
        rounds_asked: Rounds in which it was asked to train and did not refuse; each one counts as spent, whatever
            came of it.
        rounds_joined: Rounds in which its update was admitted.
        drops: Reason to number of rounds.
        ledger_head: Digest of the last entry of its privacy ledger, as it last said; None without privacy.
        fingerprints: Of its updates that moved the model, in the order of the rounds.
        low_rounds: The latest rounds in a row in which it counted for too little (`server/resting.py`).
        rests_from: Round from which on it is asked no more for it; None where it is asked.
        fingerprints_of_best: How many of them had moved the best model so far.
    """

    patients_band: str
    rounds_asked: int = 0
    rounds_joined: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    ledger_head: str | None = None
    fingerprints: list[str] = field(default_factory=list)
    low_rounds: list[int] = field(default_factory=list)
    rests_from: int | None = None
    fingerprints_of_best: int = 0


@dataclass
class Watched:
    """What came of watching the model on public studies.

    Attributes:
        start: Measure of the model before round one; None where nothing is measured.
        best_round: Round that gave the best model so far; 0 is the start.
        step: What each later change of the model is multiplied by.
    """

    start: float | None = None
    best_round: int = 0
    step: float = 1.0


@dataclass
class RunState:
    """Everything that the next round needs.

    Attributes:
        config_digest: The run it belongs to.
        rounds_completed: Rounds committed so far.
        arrays: Named arrays by kind: `model`, `aggregator`, `optimizer`, and `best`: what is known of the best model
            on the public validation, and what trains of it where it is not the model itself.
        sites: Site name to its history.
        rounds: One JSON object a committed round, as `rounds.jsonl` shows it.
        start: Site name to its statistics of the model before round one.
        latest: Site name to its latest statistics.
        groups: Site name to its noised counts by group, as it told them at the end.
        watched: What came of watching the model on public studies.
    """

    config_digest: str
    rounds_completed: int
    arrays: dict[str, dict[str, NDArray[Any]]]
    sites: dict[str, SiteHistory] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    start: dict[str, dict[str, Any]] = field(default_factory=dict)
    latest: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, list[float]] = field(default_factory=dict)
    watched: Watched = field(default_factory=Watched)

    @classmethod
    def before_round_one(cls, config_digest: str, model: NamedArrays) -> RunState:
        """The state that a run starts from."""
        return cls(config_digest, 0, {kind: {} for kind in KINDS} | {"model": dict(model)})

    def note_statistics(self, statistics: dict[str, dict[str, Any]]) -> None:
        """Keep what the sites measured: it speaks of the model that the last committed round left."""
        self.latest.update(statistics)
        if self.rounds and statistics:
            self.rounds[-1]["metrics"] = {
                site: found["brief"] for site, found in statistics.items() if "brief" in found
            }
        elif not self.rounds:
            self.start = statistics

    def forget_counts(self) -> None:
        """Counts add up with those of the same asking: elsewhere the noise that sites share does not cancel."""
        for found in self.latest.values():
            found.pop("paired", None)
        self.groups.clear()

    def mark_best(self, round_number: int) -> None:
        """The model is the best so far."""
        self.watched.best_round = round_number
        for site in self.sites.values():
            site.fingerprints_of_best = len(site.fingerprints)

    def forget_steps(self) -> None:
        """The model is the best one again: from there an honest site may come to what it sent before."""
        for site in self.sites.values():
            del site.fingerprints[site.fingerprints_of_best :]


def nobody(path: Path) -> None:
    """The `vouch` of a state that nobody vouches for."""


def save_state(state: RunState, folder: Path, *, vouch: Callable[[Path], None] = nobody) -> None:
    """Write the state into a run folder, atomically.

    Args:
        state: The state.
        folder: The run folder.
        vouch: Called with the whole file before it takes the place of the last one; what it raises keeps the last one.

    Raises:
        CheckpointError: The disk refuses it; the last state stays.
    """
    meta = {
        "config_digest": state.config_digest,
        "rounds_completed": state.rounds_completed,
        "sites": {name: vars(site) for name, site in state.sites.items()},
        "rounds": state.rounds,
        "start": state.start,
        "latest": state.latest,
        "groups": state.groups,
        "watched": vars(state.watched),
    }
    flat = {
        f"{kind}/{name}": np.asarray(array, order="C")
        for kind, arrays in state.arrays.items()
        for name, array in arrays.items()
    }
    text = json.dumps(meta)
    metadata = {"format": _FORMAT, "state": text, "sha256": _content_digest(text, flat)}
    try:
        with replaced_atomically(folder / FILE) as temporary:
            save_file(flat, temporary, metadata=metadata)
            vouch(temporary)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"{folder / FILE}: cannot be written ({reason}); free the disk, then go on with --resume {folder}"
        ) from error


def note_asked(state: RunState, folder: Path) -> None:
    """Write how often each site was asked to train, before it is asked: a round cut short by a crash counts as spent.

    Raises:
        CheckpointError: The disk refuses it; then nobody may be asked.
    """
    counts = {name: site.rounds_asked for name, site in state.sites.items()}
    try:
        write_atomically(folder / ASKED_FILE, json.dumps(counts).encode())
    except OSError as error:
        raise CheckpointError(
            f"{folder / ASKED_FILE}: cannot be written ({error.strerror}); free the disk, then go on with "
            f"--resume {folder}"
        ) from error


def open_state(folder: Path, *, config_digest: str, model: NamedArrays) -> RunState:
    """The state in a run folder; where there is none, that before round one, which is on the disk when this returns.

    Args:
        folder: The run folder.
        config_digest: The run's.
        model: The first model.

    Raises:
        CheckpointError: The state is damaged or of another run, or the disk refuses the first one.
    """
    if (folder / FILE).is_file():
        return load_state(folder, config_digest=config_digest)
    state = RunState.before_round_one(config_digest, model)
    save_state(state, folder)
    return state


def load_state(folder: Path, *, config_digest: str) -> RunState:
    """The state in a run folder.

    Raises:
        CheckpointError: It is missing, damaged or of another run.
    """
    path = folder / FILE
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; this folder holds no run that can be resumed")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        meta = json.loads(metadata["state"])
        is_whole = metadata["sha256"] == _content_digest(metadata["state"], flat)
        asked = json.loads((folder / ASKED_FILE).read_bytes()) if (folder / ASKED_FILE).exists() else {}
        state = RunState(
            config_digest=meta["config_digest"],
            rounds_completed=meta["rounds_completed"],
            arrays=_by_kind(flat),
            sites={name: SiteHistory(**site) for name, site in meta["sites"].items()},
            rounds=meta["rounds"],
            start=meta["start"],
            latest=meta["latest"],
            groups=meta["groups"],
            watched=Watched(**meta["watched"]),
        )
        for name, count in asked.items():
            if name in state.sites:
                state.sites[name].rounds_asked = max(count, state.sites[name].rounds_asked)
    except Exception as error:  # the library raises its own untyped errors for damaged files
        raise CheckpointError(_damaged(path)) from error
    if not is_whole:
        raise CheckpointError(_damaged(path))
    if state.config_digest != config_digest:
        raise CheckpointError(f"{path}: belongs to a run with another config.yaml; resume with the run's own folder")
    return state


def _damaged(path: Path) -> str:
    return f"{path}: damaged; restore it from a backup or start the run anew"


def _content_digest(state: str, flat: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over the state's text and every array: safetensors itself does not notice a flipped bit."""
    content = hashlib.sha256(state.encode())
    for name, array in sorted(flat.items()):
        content.update(f"{name} {array.dtype} {array.shape}".encode())
        content.update(array.reshape(-1).view(np.uint8).data)
    return content.hexdigest()


def _by_kind(flat: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    kinds: dict[str, dict[str, NDArray[Any]]] = {kind: {} for kind in KINDS}
    for key, array in flat.items():
        kind, _, name = key.partition("/")
        kinds[kind][name] = array
    return kinds
