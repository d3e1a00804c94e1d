"""How layers become one configuration, and the one line that each mistake gets."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from common.config import load
from common.config.load import (
    config_as_json,
    config_as_yaml,
    config_digest,
    config_from_json,
    load_config,
    read_run_config,
)
from common.config.ranges import CHOICES, RANGES
from common.errors import ConfigError


def flat(section: dict[str, object], prefix: str = "") -> dict[str, object]:
    leaves: dict[str, object] = {}
    for name, value in section.items():
        leaves |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


# Layers


def test_base_gives_every_key_a_value() -> None:
    base = yaml.safe_load(Path("configs/base.yaml").read_text(encoding="utf-8"))
    assert flat(config_as_json(load_config())) == flat(base)


def test_overrides_beat_scenario_beats_base() -> None:
    assert load_config().baselines.repeats != 3
    assert load_config(scenario="baselines").baselines.repeats == 3
    assert load_config(["baselines.repeats=1"], scenario="baselines").baselines.repeats == 1


def test_last_override_wins() -> None:
    assert load_config(["seed=1", "seed=2"]).seed == 2


def test_model_file_of_the_chosen_encoder_stands_below_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "base.yaml": load._read("base.yaml"),
        "models/hub.yaml": OmegaConf.create("encoder: {width: 32, num_heads: 2}"),
        "scenarios/baselines.yaml": OmegaConf.create("encoder: {num_heads: 8}"),
    }
    monkeypatch.setattr(load, "_read", files.__getitem__)
    config = load_config(["encoder.name=hub"], scenario="baselines")
    assert (config.encoder.width, config.encoder.num_heads) == (32, 8)
    assert load_config(["encoder.name=hub", "encoder.width=64"], scenario="baselines").encoder.width == 64


def test_infinite_epsilon_is_none() -> None:
    for text in ("inf", ".inf", "null"):
        assert load_config([f"privacy.epsilon={text}"]).privacy.epsilon is None


# Mistakes


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("federation.round=3", r"^federation\.round: unknown key; did you mean federation\.rounds"),
        ("aggregatr.name=mean", r"^aggregatr: unknown key"),
        ("encoder.name=scrach", r"^encoder\.name scrach: unknown; did you mean scratch\?$"),
        ("encoder.trainable=head", r"^encoder\.trainable=head: unknown; did you mean heads\?$"),
        ("federation.rounds=many", r"^federation\.rounds=many: wrong type; it takes a whole number$"),
        ("federation.rounds=1.5", r"^federation\.rounds=1\.5: wrong type"),
        ("federation.rounds=true", r"^federation\.rounds=True: wrong type"),
        ("privacy.delta=small", r"^privacy\.delta=small: wrong type; it takes a number or null$"),
        ("data.allow_burned_in=perhaps", r"wrong type; it takes true or false$"),
        ("baselines.splits=a", r"wrong type; it takes a list of texts, such as \[a,b\]$"),
        ("encoder=3", r"^encoder=3: wrong type; it takes keys below it, not a value$"),
        ("encoder.name=", r"^encoder\.name=None: wrong type; it takes text$"),
        ("privacy.delta=nan", r"^privacy\.delta=nan: out of range; give a value from 1e-12 to 0\.1$"),
        ("privacy.epsilon=nan", r"^privacy\.epsilon=nan: out of range"),
        ("privacy.epsilon=-inf", r"^privacy\.epsilon=-inf: out of range"),
        ("privacy.clip_norm=inf", r"^privacy\.clip_norm=inf: out of range"),
        ("federation.rounds=-1", r"^federation\.rounds=-1: out of range; give a value from 0 to 1e\+06$"),
        ("code.bit_width=100", r"^code\.bit_width=100: must be a multiple of 8$"),
        ("code.num_centres=128", r"^code\.num_centres=128: must be below code\.bit_width"),
        ("data.test_fraction=0.8", r"leave no patients to train on; lower one$"),
        ("rounds", r"^rounds: not an override; write key=value"),
        ("=3", r"^=3: not an override"),
        ("data.root=[1", r"^data\.root: the value cannot be read as YAML$"),
        ("data.root=${oc.env:HOME}", r"^data\.root: \$\{\.\.\.\} is not supported; write the value itself$"),
        ("encoder.name=${data.root}", r"^encoder\.name: \$\{\.\.\.\} is not supported"),
    ],
)
def test_mistake_is_one_line_that_names_the_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config([override])
    assert "\n" not in str(caught.value)


def test_unknown_scenario_names_the_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"^--scenario baseline: unknown; did you mean baselines"):
        load_config(scenario="baseline")


def test_scenario_cannot_leave_its_folder() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        load_config(scenario="../base")


@pytest.mark.parametrize(("key", "bounds"), RANGES.items())
def test_both_ends_of_a_range_are_allowed_and_nothing_beyond(key: str, bounds: tuple[float, float]) -> None:
    value = config_as_json(load_config())
    section, name = value, key.rpartition(".")[2]
    for part in key.split(".")[:-1]:
        section = section[part]
    for bad in (bounds[0] - 1, bounds[1] + 1):
        section[name] = bad
        with pytest.raises(ConfigError, match=f"{key}="):
            config_from_json(value)


def test_ranges_and_choices_are_keys_of_the_schema() -> None:
    leaves = flat(config_as_json(load_config()))
    assert set(RANGES) | set(CHOICES) <= set(leaves)


def test_every_number_of_the_schema_has_a_range() -> None:
    leaves = flat(config_as_json(load_config()))
    numbers = {key for key, value in leaves.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    assert numbers <= set(RANGES)


# From a run folder


def test_digest_survives_the_run_folder(tmp_path: Path) -> None:
    config = load_config(["seed=7", "privacy.epsilon=null", "baselines.splits=[a,b]", "data.root=2020-01-01"])
    path = tmp_path / "config.yaml"
    path.write_text(config_as_yaml(config), encoding="utf-8")
    assert read_run_config(path) == config
    assert config_digest(read_run_config(path)) == config_digest(config)


def test_digest_does_not_read_the_order_of_keys() -> None:
    value = config_as_json(load_config())
    turned = {name: dict(reversed(part.items())) if isinstance(part, dict) else part for name, part in value.items()}
    assert config_digest(config_from_json(dict(reversed(turned.items())))) == config_digest(load_config())


def test_digest_reads_every_key() -> None:
    assert len({config_digest(load_config([text])) for text in ("seed=0", "seed=1", "data.root=x", "workers=3")}) == 4


@pytest.mark.parametrize(
    "text", ["[1]", "", "a: [", "seed: 2020-01-01", "seed: .nan", "1: 2", "data: {root: '${oc.env:HOME}'}", "seed: 1"]
)
def test_run_folder_with_another_file_is_a_config_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_run_config(path)


def test_run_folder_without_a_config_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: cannot be read"):
        read_run_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("value", [math.nan, datetime(2020, 1, 1, tzinfo=UTC), {1, 2}])
def test_value_that_is_not_plain_is_a_config_error(value: object) -> None:
    with pytest.raises(ConfigError):
        config_from_json(config_as_json(load_config()) | {"seed": value})
