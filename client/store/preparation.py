"""One preparation: studies are encoded piece by piece, then put in order, then everything else is cleared away."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from client.data.unpaired import with_blank
from client.store.arrays import ArrayWriter
from client.store.encoded import Encoded
from client.store.index import IMAGES, REPORTS, Index, StoredFile, indexes_in, open_array, open_table
from client.store.table import Contents, StudyTable, TableWriter
from common.encoders.cache import FeatureCache
from common.encoders.interface import Encoder, FeatureKeys
from common.errors import DataError
from common.files import replaced_atomically, sha256_of_file
from common.types import BadRow, Study, Unpaired

LOCK_FILE = ".lock"
"""Held by whoever prepares."""


class Preparation:
    """Prepares into a folder; from one process at a time.

    Args:
        folder: Of what is prepared.
        pieces: Where pieces lie until they are in order.
        keys: Names of the encodings.
        encoder: Encodes.
        key: The way of preparing.
    """

    def __init__(self, folder: Path, pieces: FeatureCache, keys: FeatureKeys, encoder: Encoder, *, key: str) -> None:
        self._folder, self._encoder, self._key = folder, encoder, key
        self._encoded = {IMAGES: Encoded(keys.image, pieces), REPORTS: Encoded(keys.report, pieces)}
        # Another name each time: who has the files of before open reads on in them.
        self._name = f"{key}-{secrets.token_hex(8)}"
        self._num_bad_rows = 0
        self._files: dict[str, StoredFile] = {}

    @property
    def _encodings(self) -> dict[str, str]:
        return {kind: encoded.key for kind, encoded in self._encoded.items()}

    def find_earlier(self) -> Iterator[None]:
        """Look for what was prepared before with the same encodings; every byte of it is checked, a piece at a time.

        Raises:
            DataError: What a process that was killed left over cannot be deleted.
        """
        indexes = indexes_in(self._folder)
        self._delete_but(indexes)
        for index in indexes.values():
            for kind, encoded in self._encoded.items():
                if index.encodings.get(kind) != encoded.key:
                    continue
                try:
                    table, array = open_table(self._folder, index), open_array(self._folder, index, kind)
                    found = hashlib.sha256()
                    for piece in array.pieces():
                        found.update(piece)
                        yield
                    if found.hexdigest() == index.arrays[kind].sha256:
                        encoded.add_earlier(array, table.digests(kind))
                except DataError:
                    continue  # it is encoded anew

    @contextmanager
    def table(self) -> Iterator[TableWriter]:
        """Lend the table of the studies; it is there when the block ends.

        Raises:
            DataError: The disk is full.
        """
        path = self._path("sqlite")
        with _full_disk_told(path), replaced_atomically(path) as temporary, TableWriter.to(temporary) as table:
            yield table

    def take(self, items: Sequence[Study | Unpaired | BadRow], table: TableWriter) -> int:
        """Encode a few studies and note them in the table; how many images and reports had to be encoded.

        An unpaired study is one of them: a blank stands for what it lacks.

        Raises:
            ConfigError: The disk is full.
            DataError: The disk is full.
        """
        there = [item for item in items if not isinstance(item, BadRow)]
        studies = [with_blank(item) if isinstance(item, Unpaired) else item for item in there]
        self._num_bad_rows += len(items) - len(studies)
        if not studies:
            return 0
        contents = [Contents.of(study) for study in studies]
        images = [image for study in studies for image in (study.image, *study.other_images)]
        num_encoded = self._encoded[IMAGES].ensure(
            images, [digest for content in contents for digest in content.images], self._encoder.image_features
        ) + self._encoded[REPORTS].ensure(
            [study.record.report for study in studies],
            [content.report for content in contents],
            self._encoder.report_features,
        )
        table.add(studies, contents)
        return num_encoded

    def put_in_order(self) -> Iterator[None]:
        """Write the arrays, a piece at a time.

        Raises:
            ConfigError: The pieces cannot be read.
            DataError: The disk is full, or a piece was damaged.
        """
        table = StudyTable(self._path("sqlite"))
        for kind, encoded in self._encoded.items():
            digests, path = table.digests(kind), self._path(f"{kind}.npy")
            with _full_disk_told(path), replaced_atomically(path) as temporary, temporary.open("wb") as file:
                writer = ArrayWriter(file, num_rows=len(digests))
                for rows in encoded.gathered(digests):
                    writer.add(rows)
                    yield
                sha256 = writer.finish()
            self._files[kind] = StoredFile.of(path, sha256=sha256)

    def index(self, *, source: str, num_public: int, num_own: int) -> Index:
        """The index of what is in order."""
        table = self._path("sqlite")
        return Index(
            key=self._key,
            encodings=self._encodings,
            source=source,
            num_public=num_public,
            num_own=num_own,
            num_bad_rows=self._num_bad_rows,
            table=StoredFile.of(table, sha256=sha256_of_file(table)),
            arrays=self._files,
        )

    def clear(self) -> None:
        """Delete what the new arrays hold too, once their index is written.

        Raises:
            ConfigError: The pieces cannot be deleted.
            DataError: A file cannot be deleted.
        """
        indexes = indexes_in(self._folder)
        same = {path for path, one in indexes.items() if one.encodings == self._encodings and one.key != self._key}
        self._delete_but({path: index for path, index in indexes.items() if path not in same})
        for encoded in self._encoded.values():
            encoded.forget_pieces()

    def _delete_but(self, indexes: Mapping[Path, Index]) -> None:
        """Delete every file that none of these names: others left off writing it, or have replaced it."""
        kept = {path.name for path in indexes} | {file.name for index in indexes.values() for file in index.files}
        for path in self._folder.iterdir():
            if path.name not in kept and path.name != LOCK_FILE:
                with _full_disk_told(path):
                    path.unlink(missing_ok=True)

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._name}.{kind}"


@contextmanager
def _full_disk_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); make room, and prepare again") from error
