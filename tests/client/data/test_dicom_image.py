"""DICOM instances to grey images: every pixel rule against numbers worked out by hand from the standard."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from client.data.dicom_image import grey_image, read_instance
from common.pictures import MAX_PIXELS
from common.types import Image, UnusableRow

Make = Callable[..., Dataset]


def row_of(*values: int, dtype: type = np.int16) -> NDArray[Any]:
    """32 rows that all hold the values."""
    return np.tile(np.array(values, dtype), (32, 1))


def shown(dataset: Dataset) -> Image:
    """Write, read back and decode; the file goes through the same steps as a hospital's."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return grey_image(read_instance(buffer))  # type: ignore[arg-type]


def lut(first: int, bits: int, entries: list[int], **header: Any) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = entries
    item["LUTData"].VR = "US"
    for keyword, value in header.items():
        setattr(item, keyword, value)
    return item


def encoded(dataset: Dataset, frames: list[bytes], syntax: UID) -> Dataset:
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def test_window_linear_follows_the_standard(make_instance: Make) -> None:
    # C.11.2.1.2.1, centre 40, width 400: black to 39.5 - 199.5 = -160, white above 239, between
    # ((x - 39.5) / 399 + 0.5) * 255: 102.26 at 0, 166.17 at 100.
    pixels = row_of(-1000, -160, 0, 100, 239, 240)
    image = shown(make_instance(pixels, WindowCenter=40, WindowWidth=400))
    assert image[0].tolist() == [0, 0, 102, 166, 255, 255]
    assert image.dtype == np.uint8
    assert image.shape == (32, 6)


def test_window_linear_exact_and_sigmoid_follow_the_standard(make_instance: Make) -> None:
    # C.11.2.1.3.2, centre 100, width 200: (x - 100) / 200 + 0.5 of 255: 63.75 at 50, 127.5 at 100.
    exact = make_instance(
        row_of(-1, 0, 50, 100, 200, 201), WindowCenter=100, WindowWidth=200, VOILUTFunction="LINEAR_EXACT"
    )
    assert shown(exact)[0].tolist() == [0, 0, 64, 128, 255, 255]
    # C.11.2.1.3.1: 255 / (1 + exp(-4 (x - 100) / 200)): 68.58 at 50, 127.5 at 100, 186.4 at 150.
    sigmoid = make_instance(row_of(50, 100, 150), WindowCenter=100, WindowWidth=200, VOILUTFunction="SIGMOID")
    assert shown(sigmoid)[0].tolist() == [69, 128, 186]


def test_window_applies_to_rescaled_signed_values(make_instance: Make) -> None:
    # Stored 512 is 2 * 512 - 1024 = 0; -1 is -1026; 562 is 100; 700 is 376.
    pixels = row_of(-1, 512, 562, 700)
    image = shown(make_instance(pixels, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400))
    assert image[0].tolist() == [0, 102, 166, 255]


def test_window_of_unsigned_12_bits_in_16(make_instance: Make) -> None:
    # Centre 2048, width 4096: ((x - 2047.5) / 4095 + 0.5) * 255 = x * 255 / 4095.
    pixels = row_of(0, 1000, 2048, 4095, dtype=np.uint16)
    dataset = make_instance(pixels, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096)
    assert shown(dataset)[0].tolist() == [0, 62, 128, 255]


def test_window_the_first_of_several_is_taken(make_instance: Make) -> None:
    image = shown(make_instance(row_of(0, 100), WindowCenter=[40, -600], WindowWidth=[400, 1500]))
    assert image[0].tolist() == [102, 166]


def test_without_window_the_extremes_are_black_and_white(make_instance: Make) -> None:
    # Half way between -32768 and 32767 only in more than 16 bits: (0 + 32768) / 65535 * 255 = 127.50.
    assert shown(make_instance(row_of(-32768, 0, 32767)))[0].tolist() == [0, 128, 255]
    assert shown(make_instance(row_of(10, 20, 60), WindowCenter=None, WindowWidth=None))[0].tolist() == [
        0,
        51,
        255,
    ]


def test_constant_image_is_black_not_an_error(make_instance: Make) -> None:
    assert not shown(make_instance(row_of(7, 7, 7))).any()


def test_monochrome1_is_inverted(make_instance: Make) -> None:
    header = {"WindowCenter": 40, "WindowWidth": 400, "PhotometricInterpretation": "MONOCHROME1"}
    image = shown(make_instance(row_of(-1000, 0, 100, 240), **header))
    assert image[0].tolist() == [255, 153, 89, 0]


def test_modality_lut_maps_stored_values_before_the_window(make_instance: Make) -> None:
    # Stored 5..8 map to 0, 100, 150, 200 (C.11.1), outside of the table to its ends.
    table = lut(5, 8, [0, 100, 150, 200], ModalityLUTType="US")
    dataset = make_instance(row_of(0, 5, 6, 7, 9), ModalityLUTSequence=[table], WindowCenter=100.5, WindowWidth=101)
    # Centre 100, width 100: (x - 100) / 100 + 0.5: 0.5 at 100, 1 at 150.
    assert shown(dataset)[0].tolist() == [0, 0, 128, 255, 255]


def test_voi_lut_goes_before_the_window_and_takes_its_declared_bits(make_instance: Make) -> None:
    table = lut(-2, 12, [0, 1365, 2730, 4095])
    header = {"VOILUTSequence": [table], "WindowCenter": 0, "WindowWidth": 1}
    assert shown(make_instance(row_of(-9, -2, -1, 0, 1, 9), **header))[0].tolist() == [
        0,
        0,
        85,
        170,
        255,
        255,
    ]


def test_voi_lut_is_indexed_by_rescaled_values(make_instance: Make) -> None:
    table = lut(10, 8, [0, 51, 102, 255])
    header = {"VOILUTSequence": [table], "RescaleSlope": 1, "RescaleIntercept": 10}
    assert shown(make_instance(row_of(0, 1, 2, 3), **header))[0].tolist() == [0, 51, 102, 255]


def test_voi_lut_of_bytes_reaches_past_entry_255_and_values_past_16_bits_take_its_end(make_instance: Make) -> None:
    table = lut(0, 8, [min(i // 16, 254) for i in range(4095)] + [255])
    header = {"VOILUTSequence": [table], "RescaleSlope": 100, "RescaleIntercept": 0}
    # Rescaled to 0, 1600, 4000 and 65600 (64 above 16 bits): entries 0, 100, 250 and the last.
    assert shown(make_instance(row_of(0, 16, 40, 656), **header))[0].tolist() == [0, 100, 250, 255]


@pytest.mark.parametrize(("frames", "middle"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_multi_frame_gives_the_middle_frame(make_instance: Make, frames: int, middle: int) -> None:
    levels = np.arange(frames, dtype=np.int16) * 10
    pixels = np.broadcast_to(levels[:, None, None], (frames, 32, 32)).copy()
    image = shown(make_instance(pixels, frames=frames, WindowCenter=50.5, WindowWidth=101))
    assert (image == round(middle * 10 * 2.55)).all()


def test_enhanced_multi_frame_uses_the_rescale_and_window_of_its_frame(make_instance: Make) -> None:
    def groups(**macros: Dataset) -> Dataset:
        item = Dataset()
        for keyword, macro in macros.items():
            setattr(item, keyword, [macro])
        return item

    rescale = Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 2, -1024, "HU"
    windows = []
    for centre in (0, 40, 80):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = centre, 400
        windows.append(groups(FrameVOILUTSequence=window))
    dataset = make_instance(np.stack([row_of(0, 0, 0, 0), row_of(-1, 512, 562, 700), row_of(1, 1, 1, 1)]), frames=3)
    elsewhere = Dataset()
    elsewhere.WindowCenter, elsewhere.WindowWidth = -600, 1500
    shared = groups(PixelValueTransformationSequence=rescale, FrameVOILUTSequence=elsewhere)
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = windows
    assert shown(dataset)[0].tolist() == [0, 102, 166, 255]


def test_colour_and_palette_become_luma(make_instance: Make) -> None:
    colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
    luma = np.array([76.2, 149.7, 29.1, 255.0])  # ITU-R BT.601
    rgb = make_instance(np.tile(np.array(colours, np.uint8), (32, 1, 1)))
    assert np.abs(shown(rgb)[0] - luma).max() < 1
    palette = make_instance(row_of(0, 1, 2, 3, dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        entries = np.array([colour[channel] * 257 for colour in colours], np.uint16)
        setattr(palette, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 16])
        palette[f"{name}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(palette, f"{name}PaletteColorLookupTableData", entries.tobytes())
    assert np.abs(shown(palette)[0] - luma).max() < 1


def test_rle_and_jpeg_2000_keep_every_value(make_instance: Make, ramp: NDArray[np.int16]) -> None:
    plain = shown(make_instance(ramp, WindowCenter=512, WindowWidth=1024))
    rle = make_instance(ramp, WindowCenter=512, WindowWidth=1024)
    rle.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(shown(rle), plain)
    pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is not installed")
    jpeg_2000 = make_instance(ramp, WindowCenter=512, WindowWidth=1024)
    jpeg_2000.compress(JPEG2000Lossless, generate_instance_uid=False)
    np.testing.assert_array_equal(shown(jpeg_2000), plain)


@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_baseline_is_near_the_original(make_instance: Make, *, colour: bool) -> None:
    grey = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
    pixels = np.stack([grey] * 3, axis=-1) if colour else grey
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    dataset = encoded(make_instance(pixels), [buffer.getvalue()], JPEGBaseline8Bit)
    assert np.abs(shown(dataset).astype(int) - grey).max() <= 4


def test_missing_decoder_names_the_packages(make_instance: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = get_decoder(JPEGLSLossless)
    monkeypatch.setattr(decoder, "_available", {})
    monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0", "pylibjpeg-libjpeg>=2.1")})
    dataset = encoded(make_instance(), [b"\xff\xd8\xff\xd9"], JPEGLSLossless)
    with pytest.raises(UnusableRow, match=r"no decoder for JPEG-LS .* requires pylibjpeg>=2.0 and pylibjpeg-libjpeg"):
        shown(dataset)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"PixelData": b""}, "instance has no pixel data"),
        ({"Rows": 65535, "Columns": 65535}, f"claims 65535 x 65535 pixels; at most {MAX_PIXELS}"),
        ({"Rows": 64}, "number of bytes of pixel data is less than expected"),
        ({"PhotometricInterpretation": "HSV"}, "photometric interpretation"),
        ({"WindowCenter": 40, "WindowWidth": 0}, "Window Width must be greater"),
        ({"WindowCenter": 40, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "VOI LUT Function"),
        ({"BitsAllocated": 7}, "cannot be decoded"),
        ({"VOILUTSequence": [lut(0, 0, [0, 1])]}, "number of bits"),
    ],
)
def test_unusable_pixel_data_are_refused_with_a_reason(
    make_instance: Make, header: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnusableRow, match=reason) as caught:
        shown(make_instance(**header))
    assert "\n" not in str(caught.value)


def test_instance_without_pixel_element_is_refused(make_instance: Make) -> None:
    dataset = make_instance()
    del dataset.PixelData
    with pytest.raises(UnusableRow, match="instance has no pixel data"):
        shown(dataset)


def test_what_pydicom_mends_is_accepted_without_a_warning(make_instance: Make, ramp: NDArray[np.int16]) -> None:
    expected = shown(make_instance(ramp))
    padded = make_instance(ramp, PixelData=ramp.tobytes() + b"\0" * 10)
    no_frames = make_instance(ramp, NumberOfFrames=None)
    for dataset in (padded, no_frames):
        np.testing.assert_array_equal(shown(dataset), expected)
    buffer = io.BytesIO()
    make_instance(ramp).save_as(buffer, enforce_file_format=True)
    # The file says implicit and its elements are explicit, as some archives write it.
    explicit, implicit = ExplicitVRLittleEndian.encode(), ImplicitVRLittleEndian.encode()
    content = buffer.getvalue().replace(explicit, implicit.ljust(len(explicit), b"\0"), 1)
    np.testing.assert_array_equal(grey_image(read_instance(io.BytesIO(content))), expected)  # type: ignore[arg-type]


def test_an_unknown_character_set_is_refused_and_a_misspelt_one_is_read(make_instance: Make) -> None:
    buffer = io.BytesIO()
    make_instance(SpecificCharacterSet="ISO_IR 100").save_as(buffer, enforce_file_format=True)
    misspelt, unknown = (buffer.getvalue().replace(b"ISO_IR 100", name) for name in (b"ISO IR 100", b"ISO_IR 999"))
    assert grey_image(read_instance(io.BytesIO(misspelt))).shape == (32, 32)  # type: ignore[arg-type]
    with pytest.raises(UnusableRow, match="character set unknown"):
        read_instance(io.BytesIO(unknown))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 128, b"\0" * 128 + b"DICM"])
def test_files_that_are_not_dicom_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(UnusableRow, match=r"not a DICOM|is damaged|no pixel data"):
        grey_image(read_instance(tmp_path / "a.dcm"))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_anywhere_is_refused(make_instance: Make, tmp_path: Path, *, compressed: bool) -> None:
    dataset = make_instance(np.random.default_rng(0).integers(-999, 999, (32, 32), dtype=np.int16))
    if compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    for length in range(0, len(content) - 8, 37):
        (tmp_path / "a.dcm").write_bytes(content[:length])
        with pytest.raises(UnusableRow):
            grey_image(read_instance(tmp_path / "a.dcm"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), syntax=st.sampled_from([None, RLELossless, JPEG2000Lossless]))
def test_a_damaged_file_is_refused_or_gives_an_image(
    make_instance: Make, tmp_path: Path, data: st.DataObject, syntax: UID | None
) -> None:
    dataset = make_instance(WindowCenter=512, WindowWidth=1024, RescaleSlope=1, RescaleIntercept=0)
    if syntax is not None and get_decoder(syntax).is_available:
        dataset.compress(syntax, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 10**6)) % len(content)] = data.draw(st.integers(0, 255))
    (tmp_path / "a.dcm").write_bytes(content)
    try:
        image = grey_image(read_instance(tmp_path / "a.dcm"))
    except UnusableRow:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 2
