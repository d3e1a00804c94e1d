"""One view of a study from its file: a DICOM instance, or an ordinary picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from client.data.dicom_image import check_burned_in, grey_image, header_text, read_instance
from common.pictures import decode_picture
from common.types import Image


class ViewImage(NamedTuple):
    """A view, decoded.

    Attributes:
        image: The image.
        position: View position that the file itself states; "" where it states none.
    """

    image: Image
    position: str


ReadView: TypeAlias = Callable[[Path], ViewImage]
"""Reads one view from its file; raises `UnusableRow`."""


def picture_reader(*, pixel_bits: int) -> ReadView:
    """How the views of a folder of ordinary pictures are read.

    Args:
        pixel_bits: Bits of a grey value in picture files of more than eight; 0 where that is not declared.
    """
    return lambda path: ViewImage(decode_picture(path, bits=pixel_bits), "")


def view_reader(*, allow_burned_in: bool, pixel_bits: int) -> ReadView:
    """How the views of a folder of pictures and DICOM instances (`.dcm`) are read.

    Args:
        allow_burned_in: Whether instances that declare burned-in annotation are read.
        pixel_bits: Bits of a grey value in picture files of more than eight; 0 where that is not declared.
    """
    read_picture = picture_reader(pixel_bits=pixel_bits)

    def read(path: Path) -> ViewImage:
        if path.suffix.lower() != ".dcm":
            return read_picture(path)
        dataset = read_instance(path)
        check_burned_in(dataset, allow_burned_in=allow_burned_in)
        return ViewImage(grey_image(dataset), header_text(dataset, "ViewPosition"))

    return read
