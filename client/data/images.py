"""Ordinary picture files (PNG, JPEG, JPEG 2000, TIFF, BMP) to grey 8-bit images.

Shapes: H height, W width.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from client.data.rows import UnusableRow
from common.types import Image

MAX_PIXELS = 1 << 26
"""Largest image that is decoded (8192 x 8192); a header that claims more is taken for damage or an attack."""

FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP")
"""The formats that are tried: a site's decoder should not offer Pillow's other thirty to a hostile file."""


def locate(root: Path, relative: str) -> Path:
    """The file that a table names relative to the data root, links followed.

    Raises:
        UnusableRow: The path leaves the root, or there is no such file.
    """
    try:
        base = root.resolve()
        path = (base / relative).resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # name too long, loop of links, NUL in the name
        raise UnusableRow("image path is not a usable file name; correct it") from error
    if not path.is_relative_to(base):
        raise UnusableRow("image path leaves the data root; put the image under it and give a relative path")
    if not is_file:
        raise UnusableRow("image file is missing; restore it or remove the row")
    return path


def decode_picture(path: Path) -> Image:
    """Decode the first frame of a picture file, upright by its EXIF orientation, to a grey image `[H, W]`.

    Raises:
        UnusableRow: The file is no picture of a known format, damaged, truncated, too large, or has 32-bit
            pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of damage and of decompression bombs: both refuse the file
            with PIL.Image.open(path, formats=FORMATS) as picture:
                check_size(picture.width, picture.height)
                return to_grey(PIL.ImageOps.exif_transpose(picture))
    except UnusableRow:
        raise
    except Exception as error:  # a decoder that is fed a damaged file raises nearly anything
        raise UnusableRow(
            f"image cannot be decoded ({type(error).__name__}): damaged or none of {', '.join(FORMATS)}"
        ) from error


def check_size(width: int, height: int) -> None:
    """Check a claimed image size before memory is taken for it.

    Raises:
        UnusableRow: No pixel, or more than `MAX_PIXELS`.
    """
    if not 0 < width * height <= MAX_PIXELS:
        raise UnusableRow(f"image claims {width} x {height} pixels; at most {MAX_PIXELS} are read")


def to_grey(picture: PIL.Image.Image) -> Image:
    """Grey image `[H, W]` of a picture: colour by ITU-R BT.601 luma, 16 bits by their full range.

    Transparency is dropped.

    Raises:
        UnusableRow: The picture has 32-bit or float pixels, whose black and white are not known.
    """
    if picture.mode.startswith("I;16"):
        return (np.asarray(picture) // 257).astype(np.uint8)  # 65535 = 255 x 257
    if picture.mode in {"I", "F"}:
        raise UnusableRow("image has 32-bit pixels; save it with 8 or 16 bits")
    if picture.mode == "P":
        picture = picture.convert("RGBA")  # resolves the palette whether its transparency is a colour or a table
    return np.array(picture.convert("L"))
