"""The index of a hospital's prepared studies: their records, and under which digests their features lie.

One file for each way of preparing, private, whole or absent, with a digest of its own content. One that is damaged is
as good as none: the studies are read again, and what was encoded is found by its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.canonical import digest
from common.errors import DataError
from common.files import write_atomically
from common.types import StudyRecord

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """Some studies, in their order.

    Attributes:
        records: What is known of each.
        images: Content digest of each image.
        reports: Content digest of each report.
    """

    records: tuple[StudyRecord, ...] = ()
    images: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Digests of each study's image and report."""
        return list(zip(self.images, self.reports, strict=True))


@dataclass(frozen=True, kw_only=True)
class Index:
    """What was prepared.

    Attributes:
        source: Digest of the folders as they were (`client/store/source.py`).
        anchors: The public studies.
        own: The hospital's own.
        num_bad_rows: Rows of its own that could not be read.
    """

    source: str
    anchors: Indexed
    own: Indexed
    num_bad_rows: int


def write_index(path: Path, index: Index) -> None:
    """Write an index, readable by its owner alone.

    Raises:
        DataError: The disk refuses it.
    """
    content = asdict(index)
    document = {"format": _FORMAT, "sha256": digest(content), "index": content}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps(document).encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); make room, and prepare again") from error


def read_index(path: Path) -> Index | None:
    """The index in a file; None where there is none that is whole.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        document = json.loads(path.read_bytes())
        content = document["index"]
        if document["format"] != _FORMAT or document["sha256"] != digest(content):
            return None
        return Index(
            source=content["source"],
            anchors=_indexed(content["anchors"]),
            own=_indexed(content["own"]),
            num_bad_rows=content["num_bad_rows"],
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); mend its rights") from error
    except (ValueError, KeyError, TypeError):
        return None


def _indexed(content: Mapping[str, Any]) -> Indexed:
    return Indexed(
        records=tuple(map(_record, content["records"])),
        images=tuple(content["images"]),
        reports=tuple(content["reports"]),
    )


def _record(fields: Mapping[str, Any]) -> StudyRecord:
    """A record; JSON knows no tuples."""
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return StudyRecord(**known)
