"""The file of a table: plain, or compressed by gzip as large data sets publish theirs."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import DataError

MOST_TABLE_BYTES = 1 << 31
"""Largest table that is read; one that claims more is taken for damage or an attack."""


def find_table(root: Path, *names: str) -> Path | None:
    """The first of these tables that is there, plain before compressed (`NAME.gz`); None where none is."""
    return next((path for path in _candidates(root, names) if path.is_file()), None)


def require_table(root: Path, *names: str) -> Path:
    """The first of these tables that is there, plain before compressed (`NAME.gz`).

    Raises:
        DataError: None is.
    """
    if (path := find_table(root, *names)) is None:
        raise DataError(f"{root}: {' or '.join(names)} cannot be read; set data.root to the folder that holds it")
    return path


def table_bytes(path: Path) -> bytes:
    """What a table holds, decompressed.

    Raises:
        DataError: The file is missing, damaged or too large.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_TABLE_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged (gzip); fetch it again") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); set data.root to the folder that holds {path.name}"
        ) from error
    if len(content) > MOST_TABLE_BYTES:
        raise DataError(f"{path}: holds more than {MOST_TABLE_BYTES:,} bytes; split it, or fetch it again")
    return content


def _candidates(root: Path, names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        yield root / name
        yield root / f"{name}.gz"
