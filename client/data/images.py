"""Where a table's image files lie below its folder, and whether a decoded image shows anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.types import Image, UnusableRow

FLAT_LEVELS = 16
"""A picture whose values lie within so few grey levels shows hardly anything."""


def locate(root: Path, relative: str) -> Path:
    """The file that a table names relative to the data root, links followed; separators may be those of Windows.

    Raises:
        UnusableRow: The path leaves the root, or there is no such file.
    """
    try:
        base = root.resolve()
        path = (base / relative).resolve()
        if "\\" in relative and not path.exists():
            path = (base / relative.replace("\\", "/")).resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # name too long, loop of links, NUL in the name
        raise UnusableRow("image path is not a usable file name; correct it") from error
    if not path.is_relative_to(base):
        raise UnusableRow("image path leaves the data root; put the image under it and give a relative path")
    if not is_file:
        raise UnusableRow("image file is missing; restore it or remove the row")
    return path


def first_there(root: Path, candidates: Sequence[str]) -> str:
    """The first of these relative paths at which there is a file, else the first; `locate` says if it may be read."""

    def is_there(relative: str) -> bool:
        try:
            return (root / relative).is_file()
        except (OSError, ValueError):  # name too long, NUL in the name
            return False

    return next(filter(is_there, candidates), candidates[0])


def is_nearly_flat(image: Image) -> bool:
    """Whether a decoded picture shows hardly anything: its 1st and 99th percentile are few grey levels apart."""
    low, high = np.percentile(image, (1, 99))
    return bool(high - low < FLAT_LEVELS)
