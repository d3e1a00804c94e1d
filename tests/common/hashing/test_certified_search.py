"""Certified search, beside every change of the query's code that its certificate allows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.hashing.certificate import Certificate
from common.hashing.certified_search import certified_first, certified_recall_at

K, G = 7, 6


def possible_codes(certificate: Certificate) -> Iterator[NDArray[np.bool_]]:
    loose = np.flatnonzero(certificate.loose)
    for size in range(certificate.most_flips + 1):
        for flipped in combinations(loose, size):
            code = certificate.code.copy()
            code[list(flipped)] ^= True
            yield code


def pessimistic_first(k: int, code: NDArray[np.bool_], gallery: NDArray[np.bool_]) -> set[int]:
    """Items that stand among the first k in every order of equal distances."""
    distance = (gallery != code).sum(axis=1)
    return {int(i) for i in range(len(gallery)) if (distance <= distance[i]).sum() - 1 < k}


@st.composite
def searches(draw: st.DrawFn) -> tuple[Certificate, NDArray[np.bool_], NDArray[np.bool_]]:
    source = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    loose = source.random(K) < 0.6
    certificate = Certificate(
        code=source.random(K) < 0.5, loose=loose, most_flips=int(source.integers(0, loose.sum() + 1))
    )
    near = source.random((G, K)) < source.choice([0.15, 0.5, 0.9], (G, 1))
    relevant = source.random(G) < 0.4
    relevant[source.integers(G)] = True
    return certificate, certificate.code ^ near, relevant


@given(searches(), st.integers(1, 3))
def test_what_is_certified_holds_after_every_change(
    search: tuple[Certificate, NDArray[np.bool_], NDArray[np.bool_]], k: int
) -> None:
    certificate, gallery, relevant = search
    safe = set(certified_first(k, certificate, gallery).tolist())
    found = certified_recall_at(k, [certificate], gallery, relevant[None])[0]
    for code in possible_codes(certificate):
        assert safe <= pessimistic_first(k, code, gallery)
        if found:
            distance = (gallery != code).sum(axis=1)
            best = distance[relevant].min()
            assert (distance[~relevant] <= best).sum() < k


def test_without_loose_bits_the_search_itself_is_certified() -> None:
    source = np.random.default_rng(0)
    gallery = source.random((40, 64)) < 0.5
    certificate = Certificate(code=source.random(64) < 0.5, loose=np.zeros(64, dtype=bool), most_flips=0)
    assert set(certified_first(5, certificate, gallery)) == pessimistic_first(5, certificate.code, gallery)


def test_equal_distances_count_against_an_item() -> None:
    code = np.zeros(8, dtype=bool)
    gallery = np.eye(8, dtype=bool)[:2]
    certificate = Certificate(code=code, loose=np.zeros(8, dtype=bool), most_flips=0)
    assert certified_first(1, certificate, gallery).size == 0
    assert not certified_recall_at(1, [certificate], gallery, np.array([[True, False]]))[0]
    assert certified_recall_at(1, [certificate], gallery, np.array([[True, True]]))[0]


@pytest.mark.parametrize(("most_flips", "held"), [(3, True), (4, False)])
def test_fewer_joint_flips_hold_a_hit_that_its_loose_bits_alone_do_not(most_flips: int, *, held: bool) -> None:
    code = np.zeros(16, dtype=bool)
    gallery = np.stack([code, code.copy()])
    gallery[1, :8] = True  # 8 bits away: four flips draw level, and a tie counts against
    certificate = Certificate(code=code, loose=np.ones(16, dtype=bool), most_flips=most_flips)
    assert bool(certified_recall_at(1, [certificate], gallery, np.array([[True, False]]))[0]) is held
