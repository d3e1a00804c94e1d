"""What two configurations differ in, key by key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

from common.config.schema import RunConfig


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key.

    Attributes:
        key: Its name, with dots.
        before: Value in the first configuration.
        after: Value in the second.
    """

    key: str
    before: Any
    after: Any


def differences(before: RunConfig, after: RunConfig) -> tuple[Difference, ...]:
    """The keys in which two configurations differ, in the schema's order."""
    earlier = dict(_leaves(before))
    return tuple(
        Difference(key=key, before=earlier[key], after=value) for key, value in _leaves(after) if earlier[key] != value
    )


def _leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a section of a config
    for name, value in vars(section).items():
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
