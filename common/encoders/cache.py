"""Frozen features on disk, by content digest: a study's features are computed once on a machine.

Layout: `folder/key/<sha256>.safetensors`, one shard for each computed batch. A shard is written whole and
never changed, so any number of processes may read and write at once; two that compute the same study leave
two copies, which is harmless. A shard's name is the digest of its bytes: one that does not match is dropped,
and its studies are computed again.

Features of a private study are as sensitive as the study: folders are made with mode 0700 and files 0600, and
nothing of the cache is ever part of a release. To clear it, delete the folder.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from common.errors import ConfigError
from common.files import sha256_hex, write_atomically

Item = TypeVar("Item")

_log = logging.getLogger(__name__)
_FEATURES = "features"
_DIGESTS = "digests"


def cache_folder(configured: str) -> Path:
    """The folder of `encoder.cache`; where that is empty, the platform's (XDG Base Directory 0.8)."""
    if configured:
        return Path(configured).expanduser()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "wardround" / "features"


def ignore_progress(done: int, total: int) -> None:
    """The progress callback that shows nothing."""


class FeatureCache:
    """A folder of feature shards.

    Args:
        folder: Where the shards lie; made at the first write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[Path, frozenset[str]] = {}

    def features(
        self,
        items: Sequence[Item],
        digests: Sequence[str],
        *,
        key: str,
        compute: Callable[[Sequence[Item]], Tensor],
        batch_size: int = 32,
        progress: Callable[[int, int], None] = ignore_progress,
    ) -> Tensor:
        """Features of every item, `[B, ...]`, on the CPU; what the cache lacks is computed and stored.

        Args:
            items: Images or reports. Only missing ones are indexed, so a sequence may decode on access.
            digests: Content digest of each item; items of one digest share their features.
            key: Names the frozen computation (`FeatureKeys`): letters, digits, `.`, `_` and `-`.
            compute: Features of a batch of items, one row each.
            batch_size: Items computed, and stored, at a time.
            progress: Called after each batch with the number computed and the number that was missing.

        Raises:
            ConfigError: The cache folder cannot be read or written.
            ValueError: No items, `items` and `digests` differ in length, or `compute` breaks its contract.
        """
        if not items or len(items) != len(digests):
            raise ValueError(f"{len(items)} items and {len(digests)} digests: need as many of both, at least one")
        shelf = self._folder / _checked_name(key)
        with self._folder_errors():
            known = _stored(shelf, set(digests))
        missing = {digest: i for i, digest in enumerate(digests) if digest not in known}
        names = list(missing)
        for start in range(0, len(names), batch_size):
            batch = names[start : start + batch_size]
            rows = _computed(compute, [items[missing[digest]] for digest in batch])
            self._store(shelf, batch, rows)
            known.update(zip(batch, rows, strict=True))
            progress(start + len(batch), len(names))
        return torch.stack([known[digest] for digest in digests])

    def ensure(
        self,
        items: Sequence[Item],
        digests: Sequence[str],
        *,
        key: str,
        compute: Callable[[Sequence[Item]], Tensor],
    ) -> int:
        """Compute and store, in one batch, the features that the cache lacks; none are read.

        Args:
            items: Images or reports.
            digests: Content digest of each.
            key: As of `features`.
            compute: As of `features`.

        Returns:
            How many were computed.

        Raises:
            ConfigError: The cache folder cannot be read or written.
        """
        shelf = self._folder / _checked_name(key)
        with self._folder_errors():
            known = self._on_shelf(shelf)
        missing = {digest: item for item, digest in zip(items, digests, strict=True) if digest not in known}
        if missing:
            self._store(shelf, list(missing), _computed(compute, list(missing.values())))
        return len(missing)

    def stored(self, digests: Sequence[str], *, key: str) -> Tensor | None:
        """Features `[B, ...]` of contents that were stored before, on the CPU; None where one of them is not there.

        Raises:
            ConfigError: The cache folder cannot be read.
        """
        with self._folder_errors():
            known = _stored(self._folder / _checked_name(key), set(digests))
        if any(digest not in known for digest in digests):
            return None
        return torch.stack([known[digest] for digest in digests])

    def _on_shelf(self, shelf: Path) -> frozenset[str]:
        """Every digest that a shard says it holds; a shard never changes, so each is looked into once."""
        shards = set(shelf.glob("*.safetensors"))
        for path in shards - self._listed.keys():
            try:
                self._listed[path] = frozenset(_digests_in(path))
            except (SafetensorError, ValueError, KeyError, FileNotFoundError):
                self._listed[path] = frozenset()  # whoever reads its features drops it
        return frozenset().union(*(self._listed[path] for path in shards))

    def _store(self, shelf: Path, digests: Sequence[str], rows: Tensor) -> None:
        content = save({_FEATURES: rows}, metadata={_DIGESTS: json.dumps(list(digests))})
        with self._folder_errors():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            shelf.mkdir(mode=0o700, exist_ok=True)
            write_atomically(shelf / f"{sha256_hex(content)}.safetensors", content)

    @contextmanager
    def _folder_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"encoder.cache={self._folder}: cannot be used ({error.strerror});"
                " make room or set encoder.cache to another folder"
            ) from error


def _checked_name(key: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", key):
        raise ValueError(f"feature key {key!r}: only letters, digits, '.', '_' and '-' may name a folder")
    return key


def _computed(compute: Callable[[Sequence[Item]], Tensor], items: Sequence[Item]) -> Tensor:
    rows = compute(items).detach().cpu().contiguous()
    if len(rows) != len(items):
        raise ValueError(f"{len(rows)} rows of features for {len(items)} items")
    return rows


def _stored(shelf: Path, wanted: set[str]) -> dict[str, Tensor]:
    """The wanted digests that some undamaged shard holds; a shard without any is not read in full."""
    found: dict[str, Tensor] = {}
    for path in sorted(shelf.glob("*.safetensors")):
        try:
            found.update(_read_shard(path, wanted - found.keys()))
        except FileNotFoundError:
            continue  # another process dropped it
        except (SafetensorError, ValueError, KeyError) as error:
            _log.warning("%s: damaged feature shard dropped (%s); its studies are computed again", path, error)
            path.unlink(missing_ok=True)
    return found


def _read_shard(path: Path, wanted: set[str]) -> dict[str, Tensor]:
    """The wanted rows of a shard.

    Raises:
        SafetensorError, ValueError, KeyError: It is damaged.
        FileNotFoundError: It is gone.
    """
    digests = _digests_in(path)
    if wanted.isdisjoint(digests):
        return {}
    content = path.read_bytes()
    if sha256_hex(content) != path.stem:
        raise ValueError("its bytes do not match its name")
    rows = load(content)[_FEATURES]
    return {digest: row for digest, row in zip(digests, rows, strict=True) if digest in wanted}


def _digests_in(path: Path) -> list[str]:
    """What a shard's header says it holds.

    Raises:
        SafetensorError, ValueError, KeyError: It is damaged.
        FileNotFoundError: It is gone.
    """
    with safe_open(path, framework="pt") as shard:
        digests: list[str] = json.loads((shard.metadata() or {})[_DIGESTS])
    return digests
