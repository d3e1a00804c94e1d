"""Ordinary picture files (PNG, JPEG, JPEG 2000, TIFF, BMP) to grey 8-bit images, for training and for a model in use.

Shapes: H height, W width.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from common.types import Image, UnusableRow

MAX_PIXELS = 1 << 26
"""Largest image that is decoded (8192 x 8192); a header that claims more is taken for damage or an attack."""

FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP")
"""The formats that are tried: a site's decoder should not offer Pillow's other thirty to a hostile file."""

OWN_RANGE_PERCENTILES = (0.1, 99.9)
"""Of a picture's own values, which are black and white where no range was declared: a few hot pixels set nothing."""


def decode_picture(path: Path, *, bits: int = 0) -> Image:
    """Decode the first frame of a picture file, upright by its EXIF orientation, to a grey image `[H, W]`.

    Args:
        path: The file.
        bits: Bits of a grey value where a picture holds more than eight; 0 where that is not known.

    Raises:
        UnusableRow: The file is no picture of a known format, damaged, truncated, too large, or has 32-bit
            pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of damage and of decompression bombs: both refuse the file
            with PIL.Image.open(path, formats=FORMATS) as picture:
                return grey_of(picture, bits=bits)
    except UnusableRow:
        raise
    except Exception as error:  # a decoder that is fed a damaged file raises nearly anything
        raise UnusableRow(
            f"image cannot be decoded ({type(error).__name__}): damaged or none of {', '.join(FORMATS)}"
        ) from error


def grey_of(picture: PIL.Image.Image, *, bits: int = 0) -> Image:
    """Grey image `[H, W]` of an open picture, upright by its EXIF orientation.

    Args:
        picture: Decoded here, if it is not yet.
        bits: As for `decode_picture`.

    Raises:
        UnusableRow: It is too large, or has 32-bit pixels.
    """
    check_size(picture.width, picture.height)
    return to_grey(PIL.ImageOps.exif_transpose(picture), bits=bits)


def check_size(width: int, height: int) -> None:
    """Check a claimed image size before memory is taken for it.

    Raises:
        UnusableRow: No pixel, or more than `MAX_PIXELS`.
    """
    if not 0 < width * height <= MAX_PIXELS:
        raise UnusableRow(f"image claims {width} x {height} pixels; at most {MAX_PIXELS} are read")


def to_grey(picture: PIL.Image.Image, *, bits: int = 0) -> Image:
    """Grey image `[H, W]` of a picture: colour by ITU-R BT.601 luma, transparency dropped.

    Of a grey picture of 16 bits, which may hold 10, 12 or 16, black is 0 and white the largest value of the `bits` that
    were declared. Without a declaration its own 0.1st and 99.9th percentile are black and white. It is on purpose not
    a range of all the pictures of a folder: then one patient's picture would change how every other's is decoded, and
    taking that patient away would change the whole data set (common/decisions/0021-grey-range-of-a-picture.md).

    Raises:
        UnusableRow: The picture has 32-bit or float pixels, whose black and white are not known.
    """
    if picture.mode.startswith("I;16"):
        return _over_grey_range(np.asarray(picture), bits)
    if picture.mode in {"I", "F"}:
        raise UnusableRow("image has 32-bit pixels; save it with 8 or 16 bits")
    if picture.mode == "P":
        picture = picture.convert("RGBA")  # resolves the palette whether its transparency is a colour or a table
    return np.array(picture.convert("L"))


def _over_grey_range(values_HW: NDArray[np.uint16], bits: int) -> Image:
    low, high = (0.0, float(2**bits - 1)) if bits else np.percentile(values_HW, OWN_RANGE_PERCENTILES)
    if low == high:
        low, high = float(values_HW.min()), float(values_HW.max())
    share_HW = (values_HW.astype(np.float64) - low) / max(high - low, 1.0)
    image: Image = np.rint(255 * share_HW.clip(0, 1)).astype(np.uint8)
    return image
