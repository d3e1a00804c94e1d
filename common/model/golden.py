"""An example that nobody's data are in: a drawn pattern, a sentence, and what the model makes of them.

It shows that a model that was loaded elsewhere, with other versions or another processor, still makes the same codes. A
bit near zero could flip there without anything being wrong, so that of a few examples the first one is taken whose bits
all lie clear of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from common.errors import TrustError
from common.model.form import GOLDEN_FILE, REMEDY
from common.model.model import Encoded, Model
from common.types import Image

CLEAR = 1e-3
"""How far every bit's relaxed value lies from zero where there is such an example."""
MOST_DIFFERENCE = 1e-4
"""Between the same coordinate of two embeddings of the example, over machines and versions."""
_EXAMPLES = 32


@dataclass(frozen=True)
class Golden:
    """What a model makes of one example.

    Attributes:
        number: Which example.
        code: Its packed code, in hexadecimal.
        embedding: Its embedding `[D]`.
    """

    number: int
    code: str
    embedding: list[float]


def golden_image(number: int) -> Image:
    """The pattern of an example: two waves, grey, of no size that a network asks for."""
    rows, columns = np.mgrid[0:120, 0:100]
    waves = np.sin(rows / (3 + number)) + np.cos(columns / (5 + number % 7))
    image: Image = np.rint(255 * (waves + 2) / 4).astype(np.uint8)
    return image


def golden_text(number: int) -> str:
    """The sentence of an example."""
    return f"Example {number}. The lungs are clear. Heart size is normal."


def golden_of(model: Model) -> dict[str, Golden]:
    """The examples of a model: `image` and `report`."""
    images = model.images([_picture(number) for number in range(_EXAMPLES)])
    texts = model.texts([golden_text(number) for number in range(_EXAMPLES)])
    return {"image": _chosen(images), "report": _chosen(texts)}


def write_golden(model: Model, folder: Path) -> None:
    """Write a model's examples into its folder.

    Raises:
        OSError: The disk refuses it.
    """
    said = {name: asdict(golden) for name, golden in golden_of(model).items()}
    (folder / GOLDEN_FILE).write_text(json.dumps(said), encoding="utf-8")


def check_golden(model: Model, folder: Path) -> None:
    """Return where the model makes of the examples in its folder what it made of them when it was exported.

    Raises:
        TrustError: It does not, or the file is damaged.
    """
    path = folder / GOLDEN_FILE
    try:
        said = {name: Golden(**value) for name, value in json.loads(path.read_bytes()).items()}
        found = {
            "image": model.images([_picture(said["image"].number)]),
            "report": model.texts([golden_text(said["report"].number)]),
        }
        differ = [name for name, encoded in found.items() if not _is_same(said[name], encoded)]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TrustError(f"{path}: is damaged; {REMEDY}") from error
    if differ:
        raise TrustError(
            f"{path}: the model makes another code of its example ({' and '.join(differ)}) than when it was exported; "
            "install the versions that card.json names"
        )


def _is_same(said: Golden, found: Encoded) -> bool:
    near = bool(np.abs(np.asarray(said.embedding) - found.embeddings[0]).max() <= MOST_DIFFERENCE)
    return near and found.codes[0].tobytes().hex() == said.code


def _chosen(encoded: Encoded) -> Golden:
    margins = np.abs(encoded.relaxed).min(axis=1)
    clear = np.flatnonzero(margins >= CLEAR)
    number = int(clear[0] if len(clear) else margins.argmax())
    embedding: Any = encoded.embeddings[number].tolist()
    return Golden(number, encoded.codes[number].tobytes().hex(), embedding)


def _picture(number: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(golden_image(number))
