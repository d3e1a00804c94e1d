"""Names in a config that stand for code: one entry a name, imported when it is asked for.

Adding an implementation is one new file and one line in the registry of its folder.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Generic, TypeVar, cast

from common.errors import ConfigError

T = TypeVar("T")

_FEW_NAMES = 20


def near(name: str, known: list[str]) -> str:
    """A clause that names the nearest known names, or, when none is near, all of them if they are few."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(sorted(known))}" if len(known) <= _FEW_NAMES else "configs/base.yaml lists them all"


class Registry(Generic[T]):
    """Lazily imported implementations of one interface.

    Args:
        key: The config key that selects an implementation, for the error text.
        entries: Name to `"module:attribute"`.
    """

    def __init__(self, key: str, entries: Mapping[str, str]) -> None:
        self._key = key
        self._entries = dict(entries)

    @property
    def names(self) -> list[str]:
        """The known names, sorted."""
        return sorted(self._entries)

    def load(self, name: str) -> T:
        """The implementation behind a name.

        Raises:
            ConfigError: The name is unknown; the near names are given.
        """
        if name not in self._entries:
            raise ConfigError(f"{self._key}={name}: unknown; {near(name, self.names)}")
        module, _, attribute = self._entries[name].partition(":")
        return cast("T", getattr(import_module(module), attribute))
