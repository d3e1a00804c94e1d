"""One DICOM instance to a grey 8-bit image as a viewer would show it (DICOM PS3.3 C.7.6.3, C.11.1, C.11.2).

Steps: middle frame, decode, modality LUT or rescale, VOI LUT or window, then the shown range to 0..255;
MONOCHROME1 is inverted and colour becomes luma. Of several windows or several LUTs the first is taken.

Shapes: H height, W width, C colour channels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from pydicom.pixels.utils import pixel_array

from common.pictures import check_size, to_grey
from common.types import Image, UnusableRow

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
GREY = ("MONOCHROME1", "MONOCHROME2")
FRAME_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
"""Functional groups of enhanced multi-frame images that hold a frame's rescale and window (C.7.6.16)."""

LUT_BITS = (8, *range(10, 17))
"""Bits an entry of a VOI LUT may have (C.11.2.1.1)."""

HARMLESS_WARNINGS = (
    r"The pixel data is \d+ bytes long, which indicates it contains \d+ bytes of excess padding",
    r"A value of .* for \(0028,0008\) 'Number of Frames' is",  # 0 or blank: one frame
    r"Incorrect value for Specific Character Set",  # "ISO IR 100" for "ISO_IR 100": there is one reading
    r"Expected (implicit|explicit) VR, but found",  # pydicom reads on in the encoding that it found
    r"The number of bytes of compressed pixel data matches the expected number for uncompressed",  # chance
    r"The \(0028,0004\) 'Photometric Interpretation' value is",  # the codestream is right
)
"""What pydicom remarks on and mends; any other warning of its refuses the instance."""


def read_instance(path: Path, *, with_pixels: bool = True) -> Dataset:
    """Read one DICOM Part 10 file, or its header alone.

    Values are not checked against their value representation: hospitals' headers often break it in fields
    that are not used here, and each field that is used is checked where it is used.

    Raises:
        UnusableRow: The file is not DICOM, is damaged, or names an unknown character set.
    """
    # No text of pydicom in these reasons: it may quote the header, which holds patient data.
    with mended():
        try:
            return dcmread(path, stop_before_pixels=not with_pixels)
        except InvalidDicomError as error:
            raise UnusableRow("not a DICOM Part 10 file; move it out of the folder or export it again") from error
        except Exception as error:  # a damaged header raises nearly anything
            raise UnusableRow(
                f"DICOM file is damaged or its character set unknown ({type(error).__name__}); export it again"
            ) from error


def header_text(dataset: Dataset, keyword: str) -> str:
    """A header value as text, "" where absent or empty.

    Raises:
        UnusableRow: The value is damaged.
    """
    with mended():  # pydicom parses a value when it is first asked for
        try:
            return str(dataset.get(keyword) or "").strip(" \0")
        except Exception as error:  # a damaged value raises nearly anything
            raise UnusableRow(f"{keyword} in the DICOM header is damaged; export the instance again") from error


def check_burned_in(dataset: Dataset, *, allow_burned_in: bool) -> None:
    """Check that an instance declares no burned-in annotation, unless that is allowed.

    Raises:
        UnusableRow: It does.
    """
    if not allow_burned_in and header_text(dataset, "BurnedInAnnotation").upper() == "YES":
        raise UnusableRow("image has burned-in annotation, which the policy refuses; mask it or change the policy")


def grey_image(dataset: Dataset) -> Image:
    """The middle frame (number `frames // 2`, from 0) of an instance as a grey image `[H, W]`.

    Without window and VOI LUT the image's own smallest and largest value become black and white.

    Raises:
        UnusableRow: There is no image, no installed decoder for it, or its pixel data are damaged.
    """
    with mended():
        try:
            _check_decodable(dataset)
            return _grey_frame(dataset)
        except UnusableRow:
            raise
        except Exception as error:  # a damaged codestream raises nearly anything
            # These steps read the pixel description (group 0028) only, so the text holds no patient data.
            detail = " ".join(str(error).split())
            raise UnusableRow(f"pixel data cannot be decoded: {detail}; export the instance again") from error


@contextmanager
def mended() -> Iterator[None]:
    """Let pydicom mend what is harmless and raise on the rest of its warnings, truncation above all.

    Both settings are the process's: read instances in one thread, or in several processes.
    """
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for message in HARMLESS_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


def _check_decodable(dataset: Dataset) -> None:
    if not any(dataset.get(keyword) for keyword in PIXEL_KEYWORDS):
        raise UnusableRow("instance has no pixel data; move it out of the folder")
    check_size(dataset.Columns, dataset.Rows)
    syntax = dataset.file_meta.TransferSyntaxUID
    decoder = get_decoder(syntax)
    if not decoder.is_available:
        remedy = " or ".join(decoder.missing_dependencies)
        raise UnusableRow(f"no decoder for {syntax.name} is installed; install one of: {remedy}")


def _grey_frame(dataset: Dataset) -> Image:
    frame = int(dataset.get("NumberOfFrames") or 1) // 2
    _lift_frame_macros(dataset, frame)
    stored_HW = pixel_array(dataset, index=frame)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return _luma(apply_color_lut(stored_HW, dataset))
    if stored_HW.ndim == 3:  # pixel_array has turned every colour space into RGB
        return _luma(stored_HW)
    if dataset.PhotometricInterpretation not in GREY:
        raise UnusableRow("photometric interpretation is not one of DICOM's grey or colour spaces")
    shown_HW = _shown(apply_modality_lut(stored_HW, dataset), dataset)
    return 255 - shown_HW if dataset.PhotometricInterpretation == "MONOCHROME1" else shown_HW


def _lift_frame_macros(dataset: Dataset, frame: int) -> None:
    """Put one frame's rescale and window where pydicom looks for them; per frame goes before shared."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for groups in (*shared[:1], *per_frame[frame : frame + 1]):
        for macro in FRAME_MACROS:
            if groups.get(macro):
                dataset.update(groups[macro][0])


def _shown(values_HW: NDArray[np.generic], dataset: Dataset) -> Image:
    """VOI transformation, and its output range to 0..255; a VOI LUT goes before a window (PS3.3 C.11.2)."""
    if dataset.get("VOILUTSequence"):
        return _through_lut(values_HW, dataset)
    if None not in (dataset.get("WindowCenter"), dataset.get("WindowWidth")):
        # The ends of the window's output depend on bits, sign and rescale: ask pydicom for them.
        black, white = apply_windowing(np.array([-np.inf, np.inf]), dataset)
        return _to_bytes(apply_windowing(values_HW, dataset), black=black, white=white)
    return _to_bytes(values_HW, black=values_HW.min(), white=values_HW.max())


def _through_lut(values_HW: NDArray[np.generic], dataset: Dataset) -> Image:
    item = dataset.VOILUTSequence[0]
    entries, first, bits = item.LUTDescriptor
    if bits not in LUT_BITS:
        raise UnusableRow("VOI LUT has a number of bits that DICOM does not know; export the instance again")
    # pydicom keeps the place in the table in the type of the table's entries, where a place past 255 of a table of
    # bytes, or past 65535, would wrap; and it wants whole numbers, where a rescale leaves floats.
    item.LUTDescriptor = [entries, first, 16]
    last = first + (entries or 1 << 16) - 1  # 0 stands for 65536
    places_HW = np.rint(values_HW).clip(first, last).astype(np.int64)
    return _to_bytes(apply_voi(places_HW, dataset), black=0, white=2**bits - 1)


def _to_bytes(values_HW: NDArray[np.generic], *, black: float, white: float) -> Image:
    if black == white:
        return np.zeros(values_HW.shape, np.uint8)
    share_HW = (values_HW.astype(np.float64) - float(black)) / (float(white) - float(black))
    image: Image = np.rint(255 * share_HW.clip(0, 1)).astype(np.uint8)
    return image


def _luma(colour_HWC: NDArray[np.generic]) -> Image:
    """Grey image of RGB (or RGBA) with 8 or 16 bits a channel."""
    bytes_HWC = colour_HWC if colour_HWC.dtype == np.uint8 else (colour_HWC // 257).astype(np.uint8)
    return to_grey(PIL.Image.fromarray(bytes_HWC))
