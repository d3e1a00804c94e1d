"""What an index proves by its files alone: signature, roots, order, and that nothing withdrawn is in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.search.columns import REMEDY
from client.search.generation import WITHDRAWN, Head, open_columns, read_head
from common.errors import TrustError
from common.trust.keys import PublicKey


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        seconds: How long it took.
        error: What is wrong; None where it holds.
    """

    name: str
    seconds: float
    error: TrustError | None = None


def audit_index(folder: Path, *, key: PublicKey | None) -> tuple[Head, list[Check]]:
    """Check an index; nothing is changed.

    Args:
        folder: The index.
        key: The hospital's, got from elsewhere; None looks at no signature.

    Raises:
        ConfigError: There is no index.
        TrustError: Its head does not hold, so that nothing below it can be checked.
    """
    head = read_head(folder, key=key)
    try:
        columns = open_columns(folder, head)
    except FileNotFoundError as error:
        raise TrustError(f"{error.filename}: is missing; {REMEDY}") from error
    checks = [_timed(name, column.check) for name, column in columns.items()]
    if all(check.error is None for check in checks):
        loaded = {name: columns[name].whole() for name in ("handles", "patients", "image_studies", WITHDRAWN)}
        checks += [_timed(name, check) for name, check in _relations(folder, loaded)]
    return head, checks


def _relations(folder: Path, columns: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, Callable[[], None]]]:
    """What must hold between columns; a root only says that they are what the hospital wrote."""
    handles, studies_N = columns["handles"], columns["image_studies"]

    def in_order() -> None:
        if not (handles[:-1] < handles[1:]).all():
            raise TrustError(f"{folder}: its handles are not in their order, each once; {REMEDY}")
        if len(studies_N) and not (studies_N.max() < len(handles) and (studies_N[:-1] <= studies_N[1:]).all()):
            raise TrustError(f"{folder}: has images of no study, or out of order; {REMEDY}")

    def without_withdrawn() -> None:
        withdrawn = columns[WITHDRAWN]
        if np.isin(handles, withdrawn).any() or np.isin(columns["patients"], withdrawn).any():
            raise TrustError(f"{folder}: holds a study that was withdrawn; {REMEDY}")

    yield "order", in_order
    yield "nothing withdrawn", without_withdrawn


def _timed(name: str, check: Callable[[], None]) -> Check:
    begun = time.perf_counter()
    try:
        check()
    except TrustError as error:
        return Check(name=name, seconds=time.perf_counter() - begun, error=error)
    return Check(name=name, seconds=time.perf_counter() - begun)
