"""Seeds: one stream a purpose, the same on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.seeds import derive_seed, numpy_generator, torch_generator

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x1f"))
LABELS = st.lists(st.one_of(WORDS, st.integers()), max_size=4)


def test_seed_is_the_documented_hash() -> None:
    expected = hashlib.sha256(b"7\x1fbatch\x1fnorth\x1f3").hexdigest()
    assert derive_seed(7, "batch", "north", 3) == int(expected[:16], 16) // 2


@given(st.integers(0, 2**63 - 1), LABELS, LABELS)
def test_seeds_of_different_purposes_differ(seed: int, first: list[str | int], second: list[str | int]) -> None:
    same = list(map(str, first)) == list(map(str, second))
    assert (derive_seed(seed, *first) == derive_seed(seed, *second)) == same


@given(st.integers(), LABELS)
def test_seed_fits_every_generator(seed: int, labels: list[str | int]) -> None:
    assert 0 <= derive_seed(seed, *labels) < 2**63


def test_labels_do_not_run_together() -> None:
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc") != derive_seed(1, "abc")


def test_generators_repeat_for_one_purpose_only() -> None:
    draws = [torch.rand(4, generator=torch_generator(0, label)).tolist() for label in ("a", "a", "b")]
    assert draws[0] == draws[1] != draws[2]
    rows = [numpy_generator(0, label).random(4) for label in ("a", "a", "b")]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
