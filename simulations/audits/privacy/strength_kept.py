"""The cells that were measured, in a file that a stopped measurement goes on from."""

from __future__ import annotations

import json
from pathlib import Path

from common.errors import CheckpointError
from common.files import write_atomically
from simulations.audits.privacy.strength import Cell, Figure, Strength

STRENGTH_FILE = "strength.json"


class KeptStrengths:
    """What was measured of one config.

    Args:
        path: The file; it need not be there yet.
        digest: Of the config.

    Raises:
        CheckpointError: The file is damaged, or of another config.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self._path, self._digest = path, digest
        self.found: dict[Cell, Strength] = {}
        if not path.exists():
            return
        try:
            content = json.loads(path.read_bytes())
            for row in content["cells"]:
                figures = tuple(Figure(**figure) for figure in row.pop("figures"))
                cell = Cell(**row)
                self.found[cell] = Strength(cell=cell, figures=figures)
            kept_of = content["config_digest"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: damaged; remove it, and its cells are measured anew") from error
        if kept_of != digest:
            raise CheckpointError(f"{path}: was measured with another config; give another --out")

    def add(self, strength: Strength) -> None:
        """Keep a cell on the disk."""
        self.found[strength.cell] = strength
        write_atomically(self._path, json.dumps(self.as_object(), indent=1, allow_nan=False).encode())

    def as_object(self) -> dict[str, object]:
        """All cells as one JSON object."""
        return {"config_digest": self._digest, "cells": [one.as_json() for one in self.found.values()]}
