"""Where a study that was found agrees with what was looked for: its picture, and the same picture under a map.

Made when it is asked for, one at a time, from the study as it lies in the hospital's folder now. It is asked for by the
study's handle in the hospital's own index and by the query's code: a code that the page gave out itself, which says no
more than the search did. A picture that was searched with is never kept, so that the map lies on the study's picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from client.data.folder import StudyFolder
from client.page.shown import as_address
from client.search.build import CodeMaker
from client.search.index import SearchIndex
from common.errors import ConfigError, DataError
from common.hashing.codes import Codes, unpack
from common.model.saliency import Saliency
from common.types import Image, Study

SaliencyOf: TypeAlias = Callable[[Image, Codes], Saliency]
"""From a picture and a code to where they agree."""

TOWARDS, AWAY = (255, 153, 0), (64, 150, 255)
"""Colours of the map; they are told apart by people who see no red or green, and stand in page.css too."""
_STRONGEST_SHARE = 0.995
"""Of the map's places, below which colours deepen: one bright pixel does not pale all others."""
_OPACITY = 0.62
_CELLS = 20
"""Of the map, across and down, as it is shown: the edges of windows are no structure of the picture."""
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The picture of a study whose code is nearest to what was looked for.

    Attributes:
        study: The study's identifier here.
        image: The picture.
        number: Which of the study's pictures it is, from 1.
        num_images: How many it has.
    """

    study: str
    image: Image
    number: int
    num_images: int


@dataclass(frozen=True, kw_only=True)
class Where:
    """A picture and its map, ready to be shown.

    Attributes:
        picked: Which picture it is.
        plain: The picture as a `data:` address.
        mapped: The same under the map.
        place: Where the map is strongest, in words; "" where nothing of the picture brings it nearer.
        distance: Bits between its code and that of what was looked for.
        blurred_distance: The same of the picture without its structures.
    """

    picked: Picked
    plain: str
    mapped: str
    place: str
    distance: int
    blurred_distance: int


def code_in(text: str, *, bit_width: int) -> Codes:
    """A packed code `[P]` as the page writes it.

    Raises:
        ConfigError: It is none.
    """
    if not _HEX.fullmatch(text) or len(text) != bit_width // 4:
        raise ConfigError("code: is none of this page; search again, and ask from there.")
    return np.frombuffer(bytes.fromhex(text), np.uint8)


def picked(handle: str, code_P: Codes, index: SearchIndex, folder: StudyFolder, model: CodeMaker) -> Picked:
    """The picture of a study that is nearest to a code.

    Raises:
        TrustError: It is no handle of this index.
        DataError: The study cannot be read any more.
    """
    name = index.study_of(handle)
    study = next((item for item in folder.named({name}) if isinstance(item, Study)), None)
    if study is None:
        raise DataError("This study cannot be read in the hospital's folder any more; wardround site index")
    images = (study.image, *study.other_images)
    codes_NP = model.encode_images([PIL.Image.fromarray(image) for image in images])
    nearest = int(unpack(codes_NP ^ code_P).sum(axis=1).argmin())
    return Picked(study=name, image=images[nearest], number=nearest + 1, num_images=len(images))


def where(found: Picked, code_P: Codes, saliency_of: SaliencyOf) -> Where:
    """A picture and where it agrees with a code.

    Raises:
        CheckFailed: The map does not hold.
        ConfigError: The model allows none.
    """
    saliency = saliency_of(found.image, code_P)
    map_HW = saliency.map_HW
    return Where(
        picked=found,
        plain=as_address(PIL.Image.fromarray(found.image)),
        mapped=as_address(_coloured(found.image, map_HW)),
        place=_place(map_HW),
        distance=saliency.distance,
        blurred_distance=saliency.blurred_distance,
    )


def _coloured(image: Image, map_HW: NDArray[np.float32]) -> PIL.Image.Image:
    """The picture under its map, at the picture's own size."""
    height, width = image.shape
    few = PIL.Image.fromarray(map_HW).resize((_CELLS, _CELLS), PIL.Image.Resampling.BOX)
    strength = np.asarray(few.resize((width, height), PIL.Image.Resampling.BILINEAR))
    full = float(np.quantile(np.abs(strength), _STRONGEST_SHARE))
    signed = strength / max(full, float(np.finfo(np.float32).tiny))
    opacity = _OPACITY * np.minimum(np.abs(signed), 1)[..., None]
    colour = np.where(signed[..., None] > 0, np.array(TOWARDS), np.array(AWAY))
    mixed = (1 - opacity) * image[..., None] + opacity * colour
    return PIL.Image.fromarray(np.rint(mixed).astype(np.uint8))


def _place(map_HW: NDArray[np.float32]) -> str:
    """The third of the picture, down and across, in which the map is strongest towards the query."""
    if float(map_HW.max()) <= 0:
        return ""
    row, column = np.unravel_index(int(map_HW.argmax()), map_HW.shape)
    down = _third(int(row), map_HW.shape[0], ("upper", "middle", "lower"))
    across = _third(int(column), map_HW.shape[1], ("left", "middle", "right"))
    return down if down == across else f"{down} {across}"


def _third(position: int, length: int, names: Sequence[str]) -> str:
    return names[3 * position // length]
