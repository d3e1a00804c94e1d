"""Packing of codes, against bits written by hand and Python's own integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from common.hashing.codes import binarise, check_bit_width, unpack


def test_binarise_packs_the_first_bit_highest() -> None:
    relaxed = torch.full((1, 48), -1.0)
    relaxed[0, 0] = 0.3
    relaxed[0, 15] = 2.0
    assert binarise(relaxed).tolist() == [[0b1000_0000, 0b0000_0001, 0, 0, 0, 0]]


def test_binarise_counts_both_zeros_as_one() -> None:
    relaxed = torch.full((1, 48), -1e-30)
    relaxed[0, :2] = torch.tensor([0.0, -0.0])
    assert unpack(binarise(relaxed))[0].tolist() == [1, 1] + [0] * 46


@given(bits=st.lists(st.integers(0, 2**64 - 1), min_size=0, max_size=5))
def test_unpack_inverts_binarise(bits: list[int]) -> None:
    written = [[int(digit) for digit in f"{value:064b}"] for value in bits]
    relaxed = torch.tensor(written, dtype=torch.float32).reshape(-1, 64) - 0.5
    codes = binarise(relaxed)
    assert codes.dtype == np.uint8
    assert [int.from_bytes(code.tobytes()) for code in codes] == bits
    assert unpack(codes).tolist() == written


def test_binarise_accepts_outputs_that_need_a_gradient() -> None:
    assert binarise(torch.ones(2, 64, requires_grad=True)).tolist() == [[255] * 8] * 2


def test_binarise_refuses_nan() -> None:
    relaxed = torch.zeros(2, 64)
    relaxed[1, 3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        binarise(relaxed)


@pytest.mark.parametrize("bit_width", [48, 56, 64, 128, 256])
def test_bit_width_accepts_whole_bytes_in_range(bit_width: int) -> None:
    check_bit_width(bit_width)


@pytest.mark.parametrize("bit_width", [-64, 0, 8, 40, 50, 63, 257, 264])
def test_bit_width_refuses_the_rest(bit_width: int) -> None:
    with pytest.raises(ConfigError, match=rf"code\.bit_width={bit_width}:"):
        check_bit_width(bit_width)


def test_binarise_refuses_a_bit_width_that_codes_cannot_have() -> None:
    with pytest.raises(ConfigError, match="bit_width=50"):
        binarise(torch.zeros(1, 50))
