"""Both rules keep a patient to the clip norm, leave short gradients alone and drop what is not finite."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client.dp.clipping import CLIPPINGS, FlatClipping, PerLayerClipping
from common.errors import ConfigError

squares = st.lists(st.floats(0, 1e30), min_size=3, max_size=3)


@given(squares, st.floats(1e-6, 1e6), st.sampled_from(["flat", "per_layer"]))
def test_clipped_norm_is_at_most_the_clip(layers: list[float], clip_norm: float, name: str) -> None:
    squares_LG = torch.tensor(layers, dtype=torch.float64)[:, None]
    scales = CLIPPINGS.load(name)(clip_norm).scales(squares_LG)
    assert ((scales > 0) & (scales <= 1)).all()
    assert math.sqrt(float((squares_LG * scales.square()).sum())) <= clip_norm


def test_flat_scales_all_parameters_alike() -> None:
    scales = FlatClipping(1.0).scales(torch.tensor([[9.0, 0.01], [16.0, 0.02]], dtype=torch.float64))
    torch.testing.assert_close(scales, torch.tensor([[0.2, 1.0], [0.2, 1.0]], dtype=torch.float64), rtol=1e-5, atol=0)


def test_per_layer_gives_each_parameter_an_equal_share() -> None:
    scales = PerLayerClipping(2.0).scales(torch.tensor([[100.0], [0.5], [4.0], [1.0]], dtype=torch.float64))
    torch.testing.assert_close(scales[:, 0], torch.tensor([0.1, 1.0, 0.5, 1.0], dtype=torch.float64), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["flat", "per_layer"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_patient_that_is_not_finite_gets_nothing(name: str, bad: float) -> None:
    scales = CLIPPINGS.load(name)(1.0).scales(torch.tensor([[bad, 1.0], [1.0, 1.0]], dtype=torch.float64))
    assert scales[:, 0].tolist() == [0.0, 0.0]
    assert (scales[:, 1] > 0).all()


@pytest.mark.parametrize("name", ["flat", "per_layer"])
def test_zero_gradient_stays_zero_and_finite(name: str) -> None:
    assert CLIPPINGS.load(name)(1.0).scales(torch.zeros(3, 2)).tolist() == [[1.0, 1.0]] * 3


def test_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"privacy\.clipping=flatt: .*flat"):
        CLIPPINGS.load("flatt")
