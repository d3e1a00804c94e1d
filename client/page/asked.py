"""What was typed, chosen and dropped on the page, checked, before anything is encoded."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol, TypeVar

import PIL.Image
from starlette.datastructures import FormData, UploadFile

from client.data.acquisition import date_of
from client.data.demographics import UnreadValue
from client.data.view_files import view_reader
from client.policy.site_schema import SiteData
from client.search.index import Gallery
from client.search.traits import SEXES, Filter
from common.errors import ConfigError
from common.hashing.codes import Codes
from common.types import Image

T = TypeVar("T")

MOST_CHARACTERS = 10_000
MOST_FIELDS = 24
_MOST_DROPPED = 256
"""More than a plan has parts."""
KS = (5, 10, 20)
OLDEST = 150
_DICOM_MARK = slice(128, 132)
"""Where a DICOM file says that it is one (PS3.10 7.1)."""


class Encodes(Protocol):
    """A model, as far as a query needs it."""

    def encode_texts(self, texts: Sequence[str], /) -> Codes:
        """Codes of texts, `[N, P]`."""
        ...

    def encode_images(self, images: Sequence[PIL.Image.Image], /) -> Codes:
        """Codes of images, `[N, P]`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One search, as it was asked for.

    Attributes:
        text: The words; "" for a picture.
        picture: The bytes of a picture file; b"" for words.
        gallery: What of the studies is compared.
        k: How many studies are wanted.
        only: Which of this hospital's studies may be found; None for all.
        alone: Whether this hospital's studies alone are searched.
        dropped: Keys of the parts of the plan that were taken out.
    """

    text: str = ""
    picture: bytes = b""
    gallery: Gallery = Gallery.IMAGES
    k: int = 10
    only: Filter | None = None
    alone: bool = False
    dropped: frozenset[str] = frozenset()

    def code_P(self, model: Encodes, data: SiteData, *, spoken: str) -> Codes:
        """Its code, `[P]`.

        Args:
            model: Makes it.
            data: How the hospital's pictures are read.
            spoken: What of the words the encoder reads.

        Raises:
            UnusableRow: The picture cannot be decoded, or is too large.
        """
        if self.picture:
            picture = PIL.Image.fromarray(decoded(self.picture, data))
            codes: Codes = model.encode_images([picture])
        else:
            codes = model.encode_texts([spoken])
        first: Codes = codes[0]
        return first


async def asked_in(form: FormData) -> Asked:
    """What a form asks for.

    Raises:
        ConfigError: A field cannot be used; the field is named as the page names it.
    """
    values = {name: value.strip() for name, value in form.multi_items() if isinstance(value, str)}
    upload = form.get("picture")
    by_picture = values.get("by") == "picture"
    picture = await upload.read() if by_picture and isinstance(upload, UploadFile) else b""
    text = "" if by_picture else values.get("text", "")
    if not (text or picture):
        raise ConfigError("Choose a picture first." if by_picture else "Type what to look for first.")
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{len(text):,} characters are too many; give {MOST_CHARACTERS:,} at most.")
    return Asked(
        text=text,
        picture=picture,
        gallery=_one_of(values, "gallery", {gallery.value: gallery for gallery in Gallery}, Gallery.IMAGES),
        k=_one_of(values, "k", {str(k): k for k in KS}, KS[1]),
        only=_filter(values),
        alone="alone" in values,
        dropped=_dropped(values),
    )


def decoded(content: bytes, data: SiteData) -> Image:
    """The grey image `[H, W]` of a picture file or a DICOM instance, read as the hospital's own are.

    It lies in a private folder meanwhile: the reader of a hospital's files is the one that is used here.

    Raises:
        UnusableRow: It cannot be decoded, is too large, or declares burned-in annotation.
    """
    read = view_reader(allow_burned_in=data.allow_burned_in, pixel_bits=data.pixel_bits)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("query.dcm" if content[_DICOM_MARK] == b"DICM" else "query")
        path.write_bytes(content)
        return read(path).image


def _dropped(values: Mapping[str, str]) -> frozenset[str]:
    """What was taken out before, and what a button takes out, or puts back, now."""
    before = frozenset(values.get("dropped", "").split()[:_MOST_DROPPED])
    return before ^ frozenset(values.get("turn", "").split()[:1])


def _filter(values: Mapping[str, str]) -> Filter | None:
    sex = _one_of(values, "sex", {"": None, **{sex: sex for sex in SEXES}}, None)
    least, greatest = _age(values, "from", 0), _age(values, "to", OLDEST)
    if least > greatest:
        raise ConfigError(f"Age from {least} to {greatest} is empty; exchange them.")
    first, last = _day(values, "since", date.min), _day(values, "until", date.max)
    if first > last:
        raise ConfigError(f"Made from {first} to {last} is empty; exchange them.")
    only = Filter(
        sex=sex,
        ages=None if (least, greatest) == (0, OLDEST) else (least, greatest),
        scanner=values.get("scanner") or None,
        dates=None if (first, last) == (date.min, date.max) else (first, last),
        modality=values.get("modality") or None,
    )
    return None if only == Filter() else only


def _day(values: Mapping[str, str], name: str, otherwise: date) -> date:
    value = values.get(name, "")
    try:
        day = date_of(value)
    except UnreadValue as error:
        raise ConfigError(f"Made {name}: give a day such as 2024-05-31.") from error
    return otherwise if day is None else day


def _age(values: Mapping[str, str], name: str, otherwise: int) -> int:
    value = values.get(name, "")
    if not value:
        return otherwise
    if not (value.isascii() and value.isdecimal() and len(value) <= 3 and int(value) <= OLDEST):
        raise ConfigError(f"Age {name}: give whole years from 0 to {OLDEST}.")
    return int(value)


def _one_of(values: Mapping[str, str], name: str, known: Mapping[str, T], otherwise: T) -> T:
    value = values.get(name)
    if value is None:
        return otherwise
    if value not in known:
        raise ConfigError(f"{name}: give one of {', '.join(known)}.")
    return known[value]
