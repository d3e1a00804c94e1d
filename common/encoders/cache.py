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
import shutil
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
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
        self._listed: dict[Path, dict[str, Path]] = {}

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
        elsewhere: Container[str] = frozenset(),
    ) -> int:
        """Compute and store, in one batch, the features that the cache lacks; none are read.

        What the shards hold is looked up once: what another process stores meanwhile may be computed a second time.

        Args:
            items: Images or reports.
            digests: Content digest of each.
            key: As of `features`.
            compute: As of `features`.
            elsewhere: Digests that need not be here.

        Returns:
            How many were computed.

        Raises:
            ConfigError: The cache folder cannot be read or written.
        """
        shelf = self._folder / _checked_name(key)
        if shelf not in self._listed:
            with self._folder_errors():
                self._listed[shelf] = _listed(shelf)
        known = self._listed[shelf]
        missing = {
            digest: item
            for digest, item in zip(digests, items, strict=True)
            if digest not in known and digest not in elsewhere
        }
        if missing:
            path = self._store(shelf, list(missing), _computed(compute, list(missing.values())))
            known.update(dict.fromkeys(missing, path))
        return len(missing)

    def reader(self, key: str) -> ShelfReader:
        """Reads what is stored under a key, one content at a time.

        Raises:
            ConfigError: The cache folder cannot be read.
        """
        with self._folder_errors():
            return ShelfReader(_listed(self._folder / _checked_name(key)))

    def forget(self, key: str) -> None:
        """Delete all that is stored under a key.

        Raises:
            ConfigError: The cache folder cannot be written.
        """
        shelf = self._folder / _checked_name(key)
        self._listed.pop(shelf, None)
        with self._folder_errors():
            if shelf.exists():
                shutil.rmtree(shelf)

    def _store(self, shelf: Path, digests: Sequence[str], rows: Tensor) -> Path:
        content = save({_FEATURES: rows}, metadata={_DIGESTS: json.dumps(list(digests))})
        with self._folder_errors():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            shelf.mkdir(mode=0o700, exist_ok=True)
            path = shelf / f"{sha256_hex(content)}.safetensors"
            write_atomically(path, content)
        return path

    @contextmanager
    def _folder_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"encoder.cache={self._folder}: cannot be used ({error.strerror});"
                " make room or set encoder.cache to another folder"
            ) from error


class ShelfReader:
    """Reads features by content, with the shard that was read last at hand: neighbours mostly share one.

    Args:
        shards: The shard of each content.
    """

    def __init__(self, shards: Mapping[str, Path]) -> None:
        self._shards = shards
        self._last: tuple[Path | None, dict[str, Tensor]] = (None, {})

    def __contains__(self, digest: object) -> bool:
        return digest in self._shards

    def row(self, digest: str) -> Tensor | None:
        """Its features `[...]`; None where they are not there or damaged, which are then dropped."""
        path = self._shards.get(digest)
        if path is None:
            return None
        if path != self._last[0]:
            try:
                self._last = (path, _read_shard(path))
            except (SafetensorError, ValueError, KeyError, FileNotFoundError) as error:
                _drop(path, error)
                return None
        return self._last[1].get(digest)


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
            missing = wanted - found.keys()
            if not missing.isdisjoint(_digests_in(path)):
                rows = _read_shard(path)
                found.update((digest, rows[digest]) for digest in missing & rows.keys())
        except FileNotFoundError:
            continue  # another process dropped it
        except (SafetensorError, ValueError, KeyError) as error:
            _drop(path, error)
    return found


def _listed(shelf: Path) -> dict[str, Path]:
    """The shard of every content that one says it holds; whoever reads its features sees whether that is so."""
    found: dict[str, Path] = {}
    for path in sorted(shelf.glob("*.safetensors")):
        try:
            found.update(dict.fromkeys(_digests_in(path), path))
        except (SafetensorError, ValueError, KeyError, FileNotFoundError) as error:
            _drop(path, error)
    return found


def _drop(path: Path, error: Exception) -> None:
    _log.warning("%s: damaged feature shard dropped (%s); its studies are computed again", path, error)
    path.unlink(missing_ok=True)


def _read_shard(path: Path) -> dict[str, Tensor]:
    """The rows of a shard, by content.

    Raises:
        SafetensorError, ValueError, KeyError: It is damaged.
        FileNotFoundError: It is gone.
    """
    digests, content = _digests_in(path), path.read_bytes()
    if sha256_hex(content) != path.stem:
        raise ValueError("its bytes do not match its name")
    return dict(zip(digests, load(content)[_FEATURES], strict=True))


def _digests_in(path: Path) -> list[str]:
    """What a shard's header says it holds.

    Raises:
        SafetensorError, ValueError, KeyError: It is damaged.
        FileNotFoundError: It is gone.
    """
    with safe_open(path, framework="pt") as shard:
        digests: list[str] = json.loads((shard.metadata() or {})[_DIGESTS])
    return digests
