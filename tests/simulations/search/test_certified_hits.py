"""Which hits are certified over all hospitals: one gallery, whichever hospital a rival lies at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from client.search.generation import alone
from client.search.index import Gallery, SearchIndex
from client.search.studies import HANDLE, IMAGE_STUDY, IndexedStudies
from client.search.traits import TRAITS
from common.hashing.certificate import Certificate
from common.hashing.certified_search import certified_first
from simulations.search.certified import surely_among_first

K, BITS = 3, 64
MODEL = "a" * 64


def index_of(folder: Path, codes: NDArray[np.bool_], *, number: int) -> SearchIndex:
    """An index of studies with one image each, whose reports have the same codes."""
    packed = np.packbits(codes, axis=1)
    handles = np.array([bytes([number, i, *([1] * 14)]) for i in range(len(codes))], HANDLE)
    studies = IndexedStudies(
        handles=handles,
        patients=handles,
        contents=handles,
        names=np.array([f"s{i}".encode() for i in range(len(codes))]),
        traits=np.zeros(len(codes), TRAITS),
        reports=packed,
        images=packed,
        image_studies=np.arange(len(codes), dtype=IMAGE_STUDY),
    )
    with alone(folder, site=f"site{number}", key=None) as writer:
        writer.write(studies.in_order(), withdrawn=np.empty(0, HANDLE), model=MODEL, bit_width=BITS, source="")
    return SearchIndex.open(folder, key=None, model=MODEL, bit_width=BITS)


def flipped(code: NDArray[np.bool_], bits: int) -> NDArray[np.bool_]:
    """A code that is so many bits away: its first ones."""
    return code ^ (np.arange(BITS) < bits)


@pytest.mark.parametrize("gallery", list(Gallery))
def test_hits_are_certified_as_in_one_gallery_of_all(tmp_path: Path, gallery: Gallery) -> None:
    """Against `certified_first`, which is given all codes at once; hospital by hospital more would seem certified."""
    code = np.random.default_rng(3).random(BITS) < 0.5
    near = [np.stack([flipped(code, bits) for bits in away]) for away in ((1, 10, 30, 31), (2, 11, 32))]
    certificate = Certificate(code=code, loose=np.ones(BITS, dtype=bool), most_flips=2)
    indexes = {f"site{i}": index_of(tmp_path / str(i), codes, number=i) for i, codes in enumerate(near)}
    sure = set(certified_first(K, certificate, np.concatenate(near)).tolist())
    found = [(f"site{i}", bytes([i, j, *([1] * 14)]).hex()) for i in range(2) for j in range(len(near[i]))]
    told = surely_among_first(K, certificate, found, indexes, gallery=gallery)
    assert [at for at, surely in enumerate(told) if surely] == sorted(sure)
    assert len(sure) == 2, "those at 1 and 2 bits"
    apart = [
        surely
        for site, index in indexes.items()
        for surely in surely_among_first(
            K, certificate, [one for one in found if one[0] == site], {site: index}, gallery=gallery
        )
    ]
    assert sum(apart) > sum(told), "a rival at another hospital counts"
