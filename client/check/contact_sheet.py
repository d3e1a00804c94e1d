"""A few of a hospital's studies as they are decoded, on one picture, for the eyes of its own people.

Which grey range, which side up, whether text is burned in: no count tells it as fast as a look. The sheet holds images
of patients, and goes to one file that its owner alone can read.
"""

from __future__ import annotations

from bisect import insort
from io import BytesIO
from pathlib import Path

from PIL import Image as PillowImage
from PIL import ImageDraw, ImageOps

from client.data.identity import content_of
from client.data.images import is_nearly_flat
from common.errors import ConfigError
from common.files import sha256_hex, write_atomically
from common.types import Image, Study

NUM_STUDIES, NUM_COLUMNS = 12, 4
TILE, CAPTION, MARGIN = 256, 20, 8
"""Pixels: the sides of a picture, the line of text below it, and what lies between."""

BACKGROUND, FRAME, TEXT, FLAT = "#202020", "#505050", "#e0e0e0", "#ff9f43"
MOST_LETTERS = 36


class ContactSheet:
    """Takes studies one by one and keeps a few, which depend on their content alone: the same folder, the same sheet.

    Args:
        path: The PNG that it is for.

    Raises:
        ConfigError: It is to be no PNG, or to lie in a folder that is not there.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".png":
            raise ConfigError(f"--pictures {path}: the sheet is a PNG; give a name that ends in .png")
        if not path.parent.is_dir():
            raise ConfigError(f"--pictures {path}: no such folder {path.parent}; make it first")
        self._path = path
        self._kept: list[tuple[str, str, Image]] = []

    def add(self, study: Study) -> None:
        """Look at a study."""
        rank = sha256_hex(" ".join((study.record.study_id, *content_of(study))).encode())
        if len(self._kept) < NUM_STUDIES or rank < self._kept[-1][0]:
            insort(self._kept, (rank, study.record.study_id, study.image), key=lambda kept: kept[0])
            del self._kept[NUM_STUDIES:]

    def write(self) -> None:
        """Write the picture, whole or not at all.

        Raises:
            OSError: It cannot be written; the file is named.
        """
        num_rows = max(1, -(-len(self._kept) // NUM_COLUMNS))
        width, height = TILE + MARGIN, TILE + CAPTION + MARGIN
        sheet = PillowImage.new("RGB", (NUM_COLUMNS * width + MARGIN, num_rows * height + MARGIN), BACKGROUND)
        draw = ImageDraw.Draw(sheet)
        by_name = sorted(self._kept, key=lambda kept: kept[1])
        for number, (_, name, image) in enumerate(by_name):
            left, top = MARGIN + number % NUM_COLUMNS * width, MARGIN + number // NUM_COLUMNS * height
            tile = ImageOps.contain(PillowImage.fromarray(image), (TILE, TILE))
            sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
            flat = is_nearly_flat(image)
            draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), outline=FLAT if flat else FRAME)
            draw.text((left + 2, top + TILE + 4), _caption(name, flat=flat), fill=FLAT if flat else TEXT)
        content = BytesIO()
        sheet.save(content, format="PNG")
        write_atomically(self._path, content.getvalue())


def _caption(name: str, *, flat: bool) -> str:
    """A study's identifier in letters that every font has, and what is to be seen of it."""
    words = f"{name} (nearly flat)" if flat else name
    plain = words.encode("ascii", "replace").decode()
    return plain if len(plain) <= MOST_LETTERS else f"...{plain[-MOST_LETTERS + 3 :]}"
