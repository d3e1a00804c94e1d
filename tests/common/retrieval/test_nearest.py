"""The nearest codes with their ties, against sorting by distances counted bit by bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.retrieval import nearest as module
from common.retrieval.nearest import all_within, nearest

CODES = st.integers(0, 300).flatmap(
    lambda rows: st.tuples(st.just(rows), st.integers(0, 2**32 - 1), st.sampled_from([6, 8, 16, 32]))
)


def gallery(rows: int, seed: int, width: int, values: int = 256) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, a query, a mask; few values give many ties."""
    generator = np.random.default_rng(seed)
    table = generator.integers(0, 256, values, np.uint8)
    return table[generator.integers(0, values, (rows, width))], table[:1].repeat(width), generator.random(rows) < 0.6


def expected(query: np.ndarray, codes: np.ndarray, k: int, kept: np.ndarray | None) -> list[tuple[int, int]]:
    """Distance and row of each that is no farther than the k-th."""
    pairs = [
        (sum(bin(one ^ other).count("1") for one, other in zip(query.tolist(), code, strict=True)), row)
        for row, code in enumerate(codes.tolist())
        if kept is None or kept[row]
    ]
    farthest = sorted(pairs)[:k][-1][0] if pairs else 0
    return sorted(pair for pair in pairs if pair[0] <= farthest)


@given(CODES, st.integers(1, 40), st.sampled_from([2, 3, 256]), st.data())
def test_nearest_is_the_sorted_list_with_all_ties_at_its_end(
    shape: tuple[int, int, int], k: int, values: int, data: st.DataObject
) -> None:
    codes, query, mask = gallery(*shape, values)
    kept = data.draw(st.sampled_from([mask, None]))
    found = nearest(query, codes, k=k, kept_N=kept)
    assert list(zip(found.distances_F.tolist(), found.rows_F.tolist(), strict=True)) == expected(query, codes, k, kept)


@given(CODES, st.integers(0, 64))
def test_all_within_finds_what_is_no_farther(shape: tuple[int, int, int], distance: int) -> None:
    codes, query, _ = gallery(*shape, 3)
    found = all_within(query, codes, distance)
    assert list(zip(found.distances_F.tolist(), found.rows_F.tolist(), strict=True)) == [
        pair for pair in expected(query, codes, len(codes) or 1, None) if pair[0] <= distance
    ]


def test_mask_is_applied_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, query, kept = gallery(300, 1, 8, 3)
    whole = nearest(query, codes, k=7, kept_N=kept)
    monkeypatch.setattr(module, "_BLOCK_ROWS", 16)
    parts = nearest(query, codes, k=7, kept_N=kept)
    assert parts.rows_F.tolist() == whole.rows_F.tolist()


def test_codes_are_searched_where_they_lie() -> None:
    codes, query, _ = gallery(1000, 2, 16)
    codes.flags.writeable = False
    assert nearest(query, codes, k=3).rows_F.shape[0] >= 3


@pytest.mark.parametrize(
    "broken",
    [
        lambda query, codes: nearest(query, codes, k=0),
        lambda query, codes: nearest(query[:6], codes, k=1),
        lambda query, codes: nearest(query.astype(float), codes, k=1),
        lambda query, codes: nearest(query, codes[:, ::-1], k=1),
        lambda query, codes: nearest(query, codes, k=1, kept_N=np.ones(3, bool)),
        lambda query, codes: nearest(query, codes, k=1, kept_N=np.ones(len(codes))),
    ],
)
def test_what_does_not_fit_is_refused(broken: Callable[[np.ndarray, np.ndarray], object]) -> None:
    codes, query, _ = gallery(20, 3, 8)
    with pytest.raises(ValueError, match=r"k=0|fit|copy"):
        broken(query, codes)
