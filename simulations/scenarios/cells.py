"""What scenarios of many federations share: who watches them, what is kept of each, and nobody who watches one."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from common.config.schema import RunConfig
from common.errors import CheckpointError
from common.files import write_atomically
from server.checkpoint import RunState
from simulations.scenarios.simulate import Watcher

Found = dict[str, Any]
"""What was measured in a cell, as JSON."""


class AnyCell(Protocol):
    """A frozen dataclass that says which federation it stands for."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def label(self) -> str:
        """The cell in one line."""
        ...


CellT = TypeVar("CellT", bound=AnyCell)


class GridWatcher(Watcher, Protocol):
    """Who watches a grid."""

    def cell_begins(self, label: str, *, number: int, of: int) -> None:
        """A federation of the grid begins; numbers count from 1."""
        ...


class Unwatched:
    """An `Observer` of a federation that is one of many."""

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """See `Observer`."""

    def site_answered(self, site: str, problem: str | None) -> None:
        """See `Observer`."""

    def round_committed(self, state: RunState) -> None:
        """See `Observer`."""


class KeptCells(Generic[CellT]):
    """The results of a grid as its file holds them, so that a grid that was stopped goes on.

    Args:
        path: The file.
        digest: Of the run's configuration.
        kind: Of the cells.

    Raises:
        CheckpointError: The file is damaged or of another config.
    """

    def __init__(self, path: Path, digest: str, kind: type[CellT]) -> None:
        self._path, self._digest = path, digest
        self.found: dict[tuple[int, CellT], Found] = {}
        if not path.exists():
            return
        try:
            content = json.loads(path.read_bytes())
            for row in content["cells"]:
                cell = kind(**{name: row.pop(name) for name in kind.__dataclass_fields__})
                self.found[row.pop("seed"), cell] = row
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: damaged; remove it and resume: its cells are run anew") from error
        if content.get("config_digest") != digest:
            raise CheckpointError(f"{path}: belongs to a run with another config.yaml; start the run anew")

    def add(self, repeat: tuple[int, CellT], found: Mapping[str, Any]) -> None:
        """Keep a cell under a seed on the disk."""
        self.found[repeat] = dict(found)
        rows = [{"seed": seed, **asdict(cell), **one} for (seed, cell), one in self.found.items()]
        write_atomically(self._path, json.dumps({"config_digest": self._digest, "cells": rows}, indent=1).encode())


def at_epsilon(config: RunConfig, epsilon: float | None) -> RunConfig:
    """The same config with another epsilon."""
    changed = copy.deepcopy(config)
    changed.privacy.epsilon = epsilon
    return changed
