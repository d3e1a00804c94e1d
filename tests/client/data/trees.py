"""Small folders in the form in which public data sets are published; each picture is of one grey, which names it."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from client.data.interface import Adapter
from common.types import BadRow, Study, Unpaired
from tests.client.data.adapters import studies_of

SECRETS = ("Rumpelstiltskin", "4711081500")
"""A report and a patient's number, which no reason may quote."""


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write a table, compressed where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_picture(path: Path, grey: int, *, dtype: type[np.uint8] | type[np.uint16] = np.uint8) -> Path:
    """Write a picture of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((8, 8), grey, dtype)).save(path)
    return path


def greys(study: object) -> list[int]:
    """The greys of a study's images, the first one first."""
    assert isinstance(study, Study)
    return [int(image[0, 0]) for image in (study.image, *study.other_images)]


def only(adapter: Adapter) -> Study | Unpaired | BadRow:
    """The one thing that an adapter yields."""
    (found,) = studies_of(adapter)
    return found


def reason_of(item: object) -> str:
    """Why a row is bad; no secret stands in it."""
    assert isinstance(item, BadRow)
    assert not any(secret in f"{item.file} {item.reason}" for secret in SECRETS)
    return item.reason
