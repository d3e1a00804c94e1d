"""Files and folders of private keys: readable by their owner alone, whole or absent, never written over.

A key is not encrypted: a server and a site start without a person beside them, so a key is as safe as the folder that
it lies in.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import ConfigError, TrustError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_private(path: Path, content: bytes) -> None:
    """Write a file that was not there, of mode 0600, on the disk before this returns.

    Raises:
        TrustError: There is a file already, which is left alone, or none can be written.
    """
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _link(path, name)
    except OSError as error:
        raise TrustError(f"{path}: no key can be written there ({error.strerror})") from error
    finally:
        if name is not None:
            Path(name).unlink()


def _link(path: Path, name: str) -> None:
    """Give the file `name` the name `path` too; a link, unlike a rename, never takes the place of a file."""
    try:
        path.hardlink_to(name)
    except FileExistsError as error:
        raise TrustError(f"{path}: exists already; a key is never written over") from error


def read_private(path: Path, *, what: str = "private key") -> bytes:
    """Content of a file that its owner alone can read.

    Args:
        path: The file.
        what: What it holds, for people.

    Raises:
        TrustError: It cannot be read, or others could read it too.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror})") from error
    if mode & _OTHERS:
        raise TrustError(f"{path}: others can read this {what} (mode {mode:04o}); chmod 600 {path}")
    return content


@contextmanager
def new_private_folder(path: Path, *, remedy: str) -> Iterator[Path]:
    """Lend a folder of mode 0700 for the block to fill; it becomes `path` when the block ends well, all at once.

    Args:
        path: A folder that is not there yet, or is empty.
        remedy: What to do where it is neither.

    Raises:
        ConfigError: There is something at `path`, which is left alone, or it cannot be made.
    """
    _refuse_taken(path, remedy)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lent = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made ({error.strerror}); {remedy}") from error
    try:
        yield lent
        try:
            lent.rename(path)  # fails where something was put there meanwhile
        except OSError as error:
            raise ConfigError(f"{path}: cannot be made ({error.strerror}); {remedy}") from error
    finally:
        shutil.rmtree(lent, ignore_errors=True)


def _refuse_taken(path: Path, remedy: str) -> None:
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path}: is there already, and its keys are never written over; {remedy}")
