"""Picture files: exact grey values, and every damaged file refused instead of raised."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.images import is_nearly_flat
from common.pictures import MAX_PIXELS, decode_picture
from common.types import UnusableRow

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)


def save(folder: Path, picture: PIL.Image.Image, name: str = "a.png", **options: object) -> Path:
    picture.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.jp2"])
def test_decode_picture_keeps_grey_values_of_lossless_files(tmp_path: Path, name: str) -> None:
    image = decode_picture(save(tmp_path, PIL.Image.fromarray(RAMP), name))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, RAMP)


def test_decode_picture_jpeg_is_near_the_original(tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))
    image = decode_picture(save(tmp_path, PIL.Image.fromarray(smooth), "a.jpg", quality=95))
    assert np.abs(image.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize(
    ("bits", "deep", "grey"),
    [
        (16, [0, 257, 32767, 65535], [0, 1, 127, 255]),
        (12, [0, 16, 2048, 4095, 65535], [0, 1, 128, 255, 255]),
        (8, [0, 1, 255, 4095], [0, 1, 255, 255]),
    ],
)
def test_decode_picture_shows_declared_bits_over_the_grey_range(
    tmp_path: Path, bits: int, deep: list[int], grey: list[int]
) -> None:
    picture = save(tmp_path, PIL.Image.fromarray(np.array([deep], dtype=np.uint16)))
    np.testing.assert_array_equal(decode_picture(picture, bits=bits), [grey])


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_decode_picture_of_unknown_bits_is_shown_over_its_own_range(tmp_path: Path, bits: int, name: str) -> None:
    ramp = np.linspace(0, 2**bits - 1, 10_000).astype(np.uint16).reshape(100, 100)
    image = decode_picture(save(tmp_path, PIL.Image.fromarray(ramp), name))
    expected = np.linspace(0, 255, 10_000).reshape(100, 100)
    assert np.abs(image - expected).max() <= 1.5  # a thousandth at each end is cut, and a bit's rounding
    assert not is_nearly_flat(image)


def test_decode_picture_of_unknown_bits_hangs_on_no_hot_pixel_and_on_no_other_picture(tmp_path: Path) -> None:
    ramp = np.linspace(0, 4095, 10_000).astype(np.uint16).reshape(100, 100)
    clean = decode_picture(save(tmp_path, PIL.Image.fromarray(ramp)))
    ramp[50, 50] = 65535
    hot = decode_picture(save(tmp_path, PIL.Image.fromarray(ramp), "b.png"))
    assert np.abs(hot.astype(int) - clean).max(initial=0, where=ramp < 65535) <= 1


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_decode_picture_of_one_value_is_black_and_flat(tmp_path: Path, value: int) -> None:
    image = decode_picture(save(tmp_path, PIL.Image.fromarray(np.full((4, 4), value, np.uint16))))
    assert (image == 0).all()
    assert is_nearly_flat(image)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_decode_picture_turns_colour_into_luma(tmp_path: Path, mode: str) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    picture = PIL.Image.new("RGB", (4, 1))
    picture.putdata(colours)
    image = decode_picture(save(tmp_path, picture.convert(mode)))
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B
    assert np.abs(image[0].astype(float) - [76.2, 149.7, 29.1, 255.0]).max() < 1


def test_decode_picture_reads_bilevel_cmyk_and_transparent_palettes(tmp_path: Path) -> None:
    bilevel = decode_picture(save(tmp_path, PIL.Image.fromarray(RAMP > 127), "b.png"))
    np.testing.assert_array_equal(bilevel, np.where(RAMP > 127, 255, 0))
    cmyk = decode_picture(save(tmp_path, PIL.Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "c.jpg"))
    assert (cmyk == 255).all()
    palette = PIL.Image.fromarray(RAMP).convert("P")
    transparent = decode_picture(save(tmp_path, palette, "p.png", transparency=bytes(range(256))))
    np.testing.assert_array_equal(transparent, RAMP)


def test_decode_picture_follows_the_exif_orientation(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    image = decode_picture(save(tmp_path, PIL.Image.fromarray(RAMP), exif=exif))
    np.testing.assert_array_equal(image, np.rot90(RAMP, k=-1))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.jp2", "a.tif", "a.bmp"])
def test_decode_picture_refuses_a_truncated_file(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = save(tmp_path, PIL.Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnusableRow, match="cannot be decoded"):
        decode_picture(path)


def test_decode_picture_refuses_a_format_that_is_not_listed(tmp_path: Path) -> None:
    with pytest.raises(UnusableRow, match="none of PNG, JPEG, JPEG2000, TIFF, BMP"):
        decode_picture(save(tmp_path, PIL.Image.fromarray(RAMP), "a.gif"))


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_decode_picture_refuses_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnusableRow, match="cannot be decoded"):
        decode_picture(tmp_path / "a.png")


def test_decode_picture_refuses_float_pixels(tmp_path: Path) -> None:
    with pytest.raises(UnusableRow, match="32-bit pixels"):
        decode_picture(save(tmp_path, PIL.Image.new("F", (4, 4)), "a.tif"))


def test_decode_picture_refuses_a_bomb_by_its_header(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def png(width: int) -> bytes:
        header = struct.pack(">IIBBBBB", width, 8192, 8, 0, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")

    path = tmp_path / "a.png"
    path.write_bytes(png(MAX_PIXELS // 8192 + 1))
    with pytest.raises(UnusableRow, match="claims 8193 x 8192 pixels"):
        decode_picture(path)
    path.write_bytes(png(2**30))
    with pytest.raises(UnusableRow, match="Bomb"):
        decode_picture(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "JPEG2000"]))
def test_decode_picture_of_a_damaged_file_refuses_or_gives_an_image(data: st.DataObject, kind: str) -> None:
    buffer = io.BytesIO()
    PIL.Image.fromarray(RAMP).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, 10**6)) % len(content)] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(content)
        try:
            image = decode_picture(path)
        except UnusableRow:
            return
    assert image.dtype == np.uint8
    assert image.ndim == 2
