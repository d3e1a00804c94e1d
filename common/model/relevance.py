"""`relevance.json` in a model's folder: how sure a hit is. A folder of an older wardround has none and says nothing."""

from __future__ import annotations

import json
from pathlib import Path

from common.canonical import canonical_json
from common.errors import TrustError
from common.files import sha256_hex, write_atomically
from common.model.form import FILES_FILE, RELEVANCE_FILE, REMEDY
from common.retrieval.relevance import Relevance

_MOST_BYTES = 1 << 22


def write_relevance(folder: Path, relevance: Relevance) -> None:
    """Write it into a folder, whole or not at all.

    Raises:
        OSError: The disk refuses it.
    """
    write_atomically(folder / RELEVANCE_FILE, canonical_json(relevance.as_json()))


def read_relevance(folder: Path) -> Relevance | None:
    """How sure the hits of a model are; None where its folder does not say.

    Raises:
        TrustError: It is not the file that the folder lists, is missing, damaged, or of a newer wardround.
    """
    path = folder / RELEVANCE_FILE
    if not path.exists() and not (folder / FILES_FILE).exists():
        return None
    try:
        listed = json.loads((folder / FILES_FILE).read_bytes()).get(RELEVANCE_FILE)
        found = sha256_hex(path.read_bytes()) if path.exists() else None
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise TrustError(f"{folder / FILES_FILE}: cannot be read, or is damaged; {REMEDY}") from error
    if listed != found:
        raise TrustError(f"{path}: is not the file that {FILES_FILE} lists; {REMEDY}")
    return None if found is None else parsed_relevance(path)


def parsed_relevance(path: Path) -> Relevance:
    """What a file says, whoever wrote it.

    Raises:
        TrustError: It is damaged, or of a newer wardround.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        relevance = Relevance.from_json(json.loads(content[:_MOST_BYTES]))
        if canonical_json(relevance.as_json()) != content:
            raise TrustError(f"{path}: is not written as it is made; {REMEDY}")
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TrustError(f"{path}: is damaged, or of a newer wardround; {REMEDY}") from error
    return relevance
