"""One digest of the wardround that is installed: what a bundle says it was made with, and a hospital compares.

Over the source files of what a federation imports, by relative name and SHA-256, so that it does not depend on where
wardround is installed. `simulations` is left out: production never imports it, so a change there changes no run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common.canonical import digest
from common.files import sha256_of_file

PACKAGES = ("client", "common", "configs", "server", "strategies")
MODULES = ("wardround.py",)
SUFFIXES = frozenset({".json", ".py", ".yaml"})


def code_digest(root: Path | None = None) -> str:
    """SHA-256 over names and digests of the source files under a folder; of the installed ones unless it is given."""
    where = root or Path(__file__).resolve().parents[1]
    return digest([[str(path.relative_to(where).as_posix()), sha256_of_file(path)] for path in sorted(_files(where))])


def _files(root: Path) -> Iterator[Path]:
    yield from (root / name for name in MODULES)
    for package in PACKAGES:
        yield from (path for path in (root / package).rglob("*") if path.suffix in SUFFIXES and path.is_file())
