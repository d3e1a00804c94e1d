"""Equalised pictures: what a unit's curve does to greys is gone, and reports, keys and towers stay as they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.config.load import load_config
from common.encoders.interface import FeatureKeys
from common.encoders.registry import ENCODERS
from common.encoders.tone import EQUALISED, RECORDED, equalised, with_tone
from common.errors import ConfigError
from common.types import Image

CONFIG = load_config([]).encoder


def picture(seed: int, *, greys: int = 120) -> Image:
    return np.random.default_rng(seed).integers(0, greys, (48, 64)).astype(np.uint8)


@given(seed=st.integers(0, 99), greys=st.sets(st.integers(0, 255), min_size=120, max_size=120))
def test_no_curve_that_rises_changes_an_equalised_picture(seed: int, greys: set[int]) -> None:
    curve = np.array(sorted(greys), dtype=np.uint8)
    assert (equalised(curve[picture(seed)]) == equalised(picture(seed))).all()


def test_greys_are_the_share_of_darker_pixels() -> None:
    image = picture(7)
    flat = image.ravel().astype(int)
    darker = np.array([((flat < grey).sum() + (flat == grey).sum() / 2) / flat.size for grey in flat])
    assert np.abs(equalised(image).ravel() - 255 * darker).max() <= 0.5


def test_order_of_greys_stays_and_one_grey_is_the_middle() -> None:
    image = picture(3)
    one, other = image.ravel().astype(int), equalised(image).ravel().astype(int)
    assert (np.diff(other[np.argsort(one, kind="stable")]) >= 0).all()
    assert np.unique(equalised(np.full((4, 4), 9, np.uint8))).tolist() == [128]


def test_recorded_is_the_encoder_of_before_bit_by_bit() -> None:
    encoder = ENCODERS.load("scratch")(CONFIG)
    assert with_tone(encoder, RECORDED) is encoder
    images = [picture(0), picture(1)]
    seen = ENCODERS.load("scratch")(replace(CONFIG, tone=EQUALISED))
    assert torch.equal(seen.image_features([*images]), encoder.image_features([equalised(image) for image in images]))
    assert not torch.equal(seen.image_features(images), encoder.image_features(images))
    assert torch.equal(seen.report_features(["no mass"]), encoder.report_features(["no mass"]))


def test_cached_features_of_another_tone_are_not_taken() -> None:
    encoder = ENCODERS.load("scratch")(CONFIG)
    encoder.keys = FeatureKeys("image", "report")
    keys = with_tone(encoder, EQUALISED).keys
    assert keys is not None
    assert keys.image != "image"
    assert keys.report == "report"


def test_unknown_tone_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.tone=equalized: unknown; did you mean equalised"):
        load_config(["encoder.tone=equalized"])
