"""An index on the disk: a head that names one generation of columns, replaced whole.

STATE/search/head.json          what the index is, signed with the site's key where the site has one; written last
STATE/search/GENERATION/        its columns (`client/search/columns.py`), never changed once the head names them
STATE/search/handle_key         private: makes handles (`client/search/handles.py`)
STATE/search/.lock              held by whoever writes

A process that is killed at any point leaves the old generation or the new one; a folder that the head does not name
counts for nothing, and the next writer deletes it. Who has a generation open reads on in it when it is replaced.
What was withdrawn is in no file of the new generation, and the old one is deleted before the writer returns. The disk
may keep the bytes of a deleted file until it writes over them: that is for the disk's encryption.

An older index of the same site that is put back whole is not found out: nothing outside the folder counts generations.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from client.policy.site_schema import SiteConfig
from client.search.columns import REMEDY, Column, StoredColumn, write_column
from client.search.studies import HANDLE, IMAGE_STUDY, Handles, IndexedStudies
from client.search.traits import TRAITS, TRAITS_OF_FIRST, widened
from common.errors import ConfigError, DataError, TrustError
from common.evidence.merkle import Tree, leaf_hash
from common.files import flush, write_atomically
from common.trust.envelope import body_bytes, read_file, read_signed, seal, unseal, written
from common.trust.keys import PublicKey, SigningKey

SEARCH_FOLDER = "search"
"""In the state folder."""
HEAD_FILE, LOCK_FILE, HANDLE_KEY_FILE = "head.json", ".lock", "handle_key"
WITHDRAWN = "withdrawn"
"""Column of the studies and patients that stay out, by handle."""
PURPOSE = "search index"
VERSION = 2
_TRAITS = {1: TRAITS_OF_FIRST, VERSION: TRAITS}
"""How each version has the traits; otherwise they are alike."""
_GENERATION = re.compile(r"[0-9a-f]{16}")


def search_folder(site: SiteConfig) -> Path:
    """Where a hospital's index lies."""
    return site.state_folder / SEARCH_FOLDER


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is signed of an index.

    Attributes:
        version: Of this form.
        site: The hospital.
        model: Digest of the model that made the codes.
        bit_width: Bits of a code.
        source: Digest of the studies' folder when all of it was in the index; "" while it is being built.
        generation: Name of the folder of its columns.
        columns: What is in that folder.
    """

    version: int
    site: str
    model: str
    bit_width: int
    source: str
    generation: str
    columns: tuple[Column, ...]

    @property
    def root(self) -> str:
        """Merkle root over the columns' own roots, in hexadecimal: one name for all that is in the index."""
        return Tree(leaf_hash(body_bytes(column)) for column in self.columns).root.hex()

    def column(self, name: str) -> Column:
        """A column by its name.

        Raises:
            TrustError: It has none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise TrustError(f"{HEAD_FILE}: lists no {name}; {REMEDY}")


def read_head(folder: Path, *, key: PublicKey | None) -> Head:
    """The head of an index.

    Args:
        folder: The index.
        key: That it must be signed with; None takes a head that is not signed, and looks at no signature.

    Raises:
        ConfigError: There is no index.
        TrustError: It is damaged, newer, or not signed with that key.
    """
    path = folder / HEAD_FILE
    if not path.exists():
        raise ConfigError(f"{folder}: holds no index; wardround site index makes one")
    content = read_file(path)
    try:
        head = read_signed(content, Head)[0] if key is None else unseal(content, Head, key, purpose=PURPOSE)
    except TrustError as error:
        raise TrustError(f"{path}: {error}; {REMEDY}") from error
    names = [column.name for column in head.columns]
    if head.version not in _TRAITS or not _GENERATION.fullmatch(head.generation) or set(names) != _columns_of_index():
        raise TrustError(f"{path}: is not written as such a file is; it is damaged or newer; {REMEDY}")
    return head


def open_columns(folder: Path, head: Head) -> dict[str, StoredColumn]:
    """The columns that a head names, open and not yet checked.

    Raises:
        FileNotFoundError: One is gone: perhaps another generation has taken its place.
        TrustError: One is not what the head says, as far as sizes tell.
    """
    code = (np.dtype(np.uint8), (head.bit_width // 8,))
    types = {
        "handles": (HANDLE, ()),
        "patients": (HANDLE, ()),
        "contents": (HANDLE, ()),
        "names": (np.dtype(f"S{max(1, head.column('names').row_bytes)}"), ()),
        "traits": (_TRAITS[head.version], ()),
        "reports": code,
        "images": code,
        "image_studies": (IMAGE_STUDY, ()),
        WITHDRAWN: (HANDLE, ()),
    }
    return {name: StoredColumn(folder / head.generation, head.column(name), *kind) for name, kind in types.items()}


def read_studies(folder: Path, head: Head) -> tuple[IndexedStudies, Handles]:
    """All that a head names in memory, checked: the studies, and what stays out.

    Raises:
        TrustError: A column is missing or not what was written.
    """
    try:
        columns = {name: column.loaded() for name, column in open_columns(folder, head).items()}
    except FileNotFoundError as error:
        raise TrustError(f"{error.filename}: is missing; {REMEDY}") from error
    withdrawn = columns.pop(WITHDRAWN)
    columns["traits"] = widened(columns["traits"])
    return IndexedStudies(**columns), withdrawn


@dataclass(frozen=True, kw_only=True)
class IndexWriter:
    """Writes generations; lent by `alone`.

    Attributes:
        folder: The index.
        site: The hospital.
        key: Signs; None for a hospital without a key.
    """

    folder: Path
    site: str
    key: SigningKey | None

    def current(self) -> Head | None:
        """The head that is there; None where there is none.

        An older one lacks what studies are narrowed by now: it counts as not whole, so that the next pass completes it.

        Raises:
            TrustError: It is damaged or not signed with the site's key.
        """
        if not (self.folder / HEAD_FILE).exists():
            return None
        head = read_head(self.folder, key=None if self.key is None else self.key.public)
        return head if head.version == VERSION else replace(head, source="")

    def write(self, studies: IndexedStudies, *, withdrawn: Handles, model: str, bit_width: int, source: str) -> Head:
        """Write a generation, let the head name it, and delete the one before.

        Raises:
            OSError: The disk is full; what was there is untouched.
        """
        before, name = self.current(), secrets.token_hex(8)
        self._delete_but(before.generation if before else "")
        generation = self.folder / name
        generation.mkdir(mode=0o700)
        try:
            columns = [write_column(generation, *named) for named in studies.columns.items()]
            columns.append(write_column(generation, WITHDRAWN, np.unique(withdrawn.astype(HANDLE))))
            flush(generation)
        except BaseException:
            shutil.rmtree(generation, ignore_errors=True)
            raise
        head = Head(
            version=VERSION,
            site=self.site,
            model=model,
            bit_width=bit_width,
            source=source,
            generation=name,
            columns=tuple(columns),
        )
        sealed = written(head, {}) if self.key is None else seal(head, self.key, purpose=PURPOSE)
        write_atomically(self.folder / HEAD_FILE, sealed)
        self._delete_but(name)
        return head

    def _delete_but(self, name: str) -> None:
        for found in self.folder.iterdir():
            if found.is_dir() and _GENERATION.fullmatch(found.name) and found.name != name:
                shutil.rmtree(found)
        flush(self.folder)


@contextmanager
def alone(folder: Path, *, site: str, key: SigningKey | None) -> Iterator[IndexWriter]:
    """Lend the index to one writer.

    Raises:
        DataError: Another process writes it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield IndexWriter(folder=folder, site=site, key=key)
    except BlockingIOError as error:
        raise DataError(f"{folder}: another process writes this index; let it end, and try again") from error
    finally:
        os.close(descriptor)


def _columns_of_index() -> set[str]:
    return {*IndexedStudies.none(8).columns, WITHDRAWN}
