"""Reports read by public words alone: a word of a hospital's own moves nothing, and off is the encoder of before."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from common.config.load import load_config
from common.encoders.interface import Tower
from common.encoders.registry import ENCODERS
from common.encoders.scratch import TrunkTower
from common.errors import ConfigError

CONFIG = load_config(["encoder.max_tokens=16", "encoder.width=16", "encoder.num_heads=2"]).encoder
PUBLIC = replace(CONFIG, words="public")
ENCODER = ENCODERS.load("scratch")(CONFIG)
ANCHORS = ENCODER.report_features(["no pleural effusion", "large mass in the left lung"])


def report_tower(words: str) -> Tower:
    tower = ENCODERS.load("scratch")(replace(CONFIG, words=words)).towers(torch.Generator().manual_seed(0))[1]
    tower.fit_to_public(ANCHORS)
    return tower


def read(tower: Tower, *reports: str) -> Tensor:
    with torch.no_grad():
        embedding: Tensor = tower(ENCODER.report_features(reports))
    return embedding


@pytest.mark.parametrize("report", ["allegedly no effusion", "no effusion drugseeking", "no belligerent effusion"])
def test_words_of_no_public_report_move_nothing(report: str) -> None:
    tower = report_tower("public")
    assert torch.equal(read(tower, report), read(tower, "no effusion"))
    plain = report_tower("all")
    assert not torch.allclose(read(plain, report), read(plain, "no effusion"))


def test_reports_of_public_words_are_read_as_before_bit_by_bit() -> None:
    reports = ["left effusion", "no mass in the lung"]
    assert torch.equal(read(report_tower("public"), *reports), read(report_tower("all"), *reports))


def test_a_report_without_a_public_word_is_read_whole() -> None:
    assert torch.equal(read(report_tower("public"), "quux"), read(report_tower("all"), "quux"))
    assert torch.isfinite(read(report_tower("public"), "", "quux")).all()


def test_off_has_no_more_arrays_and_on_sends_the_words_with_the_model() -> None:
    assert [name for name in report_tower("all").state_dict() if "known" in name] == []
    told, fresh = report_tower("public"), ENCODERS.load("scratch")(PUBLIC).towers(torch.Generator().manual_seed(1))[1]
    fresh.load_state_dict(told.state_dict())
    assert torch.equal(read(fresh, "allegedly no effusion"), read(told, "no effusion"))


def test_image_towers_know_no_words() -> None:
    image = ENCODERS.load("scratch")(PUBLIC).towers(torch.Generator().manual_seed(0))[0]
    assert isinstance(image, TrunkTower)
    image.fit_to_public(torch.zeros(2, CONFIG.image_size, CONFIG.image_size, dtype=torch.uint8))
    assert not [name for name in image.state_dict() if "known" in name]


def test_gradients_of_single_records_are_those_of_a_loop() -> None:
    tower = report_tower("public")
    features = ENCODER.report_features(["allegedly no effusion", "mass", "quux"])
    weights = {name: value.detach() for name, value in tower.named_parameters()}

    def value(given: dict[str, Tensor], words: Tensor) -> Tensor:
        found: Tensor = functional_call(tower, given, (words[None],)).square().sum()
        return found

    at_once = vmap(grad(value), in_dims=(None, 0))(weights, features)
    for row, words in enumerate(features):
        for name, one in grad(value)(weights, words).items():
            torch.testing.assert_close(at_once[name][row], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["pretrained", "hub"])
def test_encoders_that_know_their_words_refuse_it_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.words=public: encoder\.name=\w+ has learnt its words elsewhere"):
        ENCODERS.load(name)(replace(PUBLIC, name=name, trainable_blocks=0))
