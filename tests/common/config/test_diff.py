"""Differences of two configurations, and a person's file between base and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config.diff import Difference, differences
from common.config.load import config_as_yaml, load_config
from common.errors import ConfigError


def test_same_configurations_do_not_differ() -> None:
    assert differences(load_config(), load_config()) == ()


def test_each_key_is_named_with_both_values() -> None:
    found = differences(load_config(), load_config(["evaluation.epsilon=2", "seed=4", "robustness.rules=[mean]"]))
    assert found == (
        Difference(key="seed", before=0, after=4),
        Difference(key="evaluation.epsilon", before=None, after=2.0),
        Difference(key="robustness.rules", before=[], after=["mean"]),
    )


def test_file_may_hold_all_keys_or_some(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    wanted = load_config(["encoder.name=pretrained", "seed=4", "evaluation.epsilon=2"])
    path.write_text("seed: 9\nencoder: {name: pretrained}\nevaluation: {epsilon: 2}\n")
    assert load_config(["seed=4"], file=path) == wanted
    path.write_text(config_as_yaml(wanted))
    assert load_config(file=path) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [("sead: 1\n", "sead: unknown key"), ("- 1\n", "holds no configuration"), ("device: ${oc.env:HOME}\n", "run.yaml")],
)
def test_wrong_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(file=path)
