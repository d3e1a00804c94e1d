"""A model's folder is whole or absent, and `files.json` lists all that is in it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import ConfigError, TrustError
from common.files import flush, named_in_errors, sha256_of_file
from common.model.form import FILES_FILE, REMEDY


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Lend a folder beside `folder` for the block to write; it takes its place, its files listed, when that ends well.

    Raises:
        ConfigError: There is something in its place already.
        OSError: The disk is full, or the folder cannot be written; nothing is left of it.
    """
    refuse_taken(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with named_in_errors(folder):
            temporary.chmod(0o755)
            yield temporary
            listed = json.dumps(_digests(temporary), indent=1).encode() + b"\n"
            (temporary / FILES_FILE).write_bytes(listed)
            for path in (*_files(temporary), temporary):
                flush(path)
            temporary.replace(folder)  # over an empty folder, too
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    flush(folder.parent)


def refuse_taken(folder: Path) -> None:
    """Return where a folder may be written.

    Raises:
        ConfigError: There is something in its place already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out {folder}: is there already; name a new folder")


def check_files(folder: Path) -> str:
    """SHA-256 of the list of a folder's files, where each of them, and no other, is there as it was listed.

    Raises:
        ConfigError: The folder holds no model.
        TrustError: A file is missing, too many, or another; it is named.
    """
    path = folder / FILES_FILE
    if not path.is_file():
        raise ConfigError(f"{folder}: holds no model with a list of its files; name a folder that model export wrote")
    try:
        listed = json.loads(path.read_bytes())
        found = _digests(folder)
    except OSError as error:
        raise TrustError(f"{error.filename}: cannot be read ({error.strerror}); {REMEDY}") from error
    except (ValueError, RecursionError) as error:
        raise TrustError(f"{path}: is damaged; {REMEDY}") from error
    if not isinstance(listed, dict):
        raise TrustError(f"{path}: is damaged; {REMEDY}")
    for name in sorted(listed.keys() | found.keys()):
        if name not in found:
            raise TrustError(f"{folder / name}: is missing, and {FILES_FILE} lists it; {REMEDY}")
        if name not in listed:
            raise TrustError(f"{folder / name}: is not a file of the model; take it away, or {REMEDY}")
        if listed[name] != found[name]:
            raise TrustError(f"{folder / name}: is not the file that was exported; {REMEDY}")
    return sha256_of_file(path)


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of_file(path) for path in _files(folder) if path.name != FILES_FILE
    }


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
