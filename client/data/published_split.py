"""The split that a run names: the folder's own, or the one that its data set publishes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from client.data.splits import Role, read_splits
from common.config.registry import Registry

PUBLISHED = "published"
"""`data.split` that takes the split of the data set's authors, which has no public side."""

SPLITS: Registry[Callable[[Path], dict[str, Role]]] = Registry(
    f"data.split={PUBLISHED} data.adapter",
    {
        "chexpert": "client.data.chexpert:published_split",
        "mimic_cxr": "client.data.mimic_cxr:published_split",
    },
)


def fixed_roles(root: Path, *, adapter: str, split: str) -> dict[str, Role]:
    """Roles of the split groups in a split that nothing is drawn for.

    Args:
        root: The data folder.
        adapter: Its layout.
        split: `PUBLISHED`, or a column of `splits.csv` in the folder.

    Raises:
        ConfigError: The layout publishes none, or there is no such column; the near names are given.
        DataError: The split cannot be read, or contradicts itself.
    """
    if split == PUBLISHED:
        return SPLITS.load(adapter)(root)
    return read_splits(root / "splits.csv", split=split)
