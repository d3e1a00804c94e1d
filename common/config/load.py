"""How a run's configuration comes about: base, the encoder's model file, a scenario, a person's file, overrides.

Every layer is checked against the schema. A wrong key, type or value is one line that names the key and the remedy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from common.canonical import canonical_json, digest
from common.config import schema
from common.config.ranges import check_ranges
from common.config.registry import near
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.fairness.emphasis import emphasis_of
from common.fairness.marginals import marginals_of
from common.fairness.table import table_of

_TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "float | None": "a number or null",
    "str": "text",
    "bool": "true or false",
    "list[str]": "a list of texts, such as [a,b]",
    "dict[str, str]": "texts by name, such as {a: b}",
    "dict[str, float]": "numbers by name, such as {a: 0.5}",
    "list[int]": "a list of whole numbers, such as [1,2]",
    "list[float | None]": "a list of numbers or null, such as [null,8]",
}


def load_config(overrides: Sequence[str] = (), *, scenario: str | None = None, file: Path | None = None) -> RunConfig:
    """The resolved configuration of a run.

    Args:
        overrides: `key=value` texts; the value is YAML.
        scenario: Name of a file in `configs/scenarios/`.
        file: A file with some keys, or all.

    Raises:
        ConfigError: The file cannot be read, an unknown key or scenario, a wrong type, or a value out of range.
    """
    named = [] if scenario is None else [_read_named("scenarios", scenario, option="--scenario")]
    given = [] if file is None else [_read_layer(file)]
    given += [_parse(text) for text in overrides]
    encoder = next(
        str(name)
        for layer in reversed([_read("base.yaml"), *named, *given])
        if (name := OmegaConf.select(layer, "encoder.name")) is not None
    )
    return _resolve(_shipped(encoder, scenario), given)


def config_from_json(value: dict[str, Any]) -> RunConfig:
    """The configuration that `config_as_json` wrote, checked again.

    Raises:
        ConfigError: The value does not fit the schema.
    """
    try:
        text = canonical_json(value).decode()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the configuration holds a value that is not plain ({error}); write it as text") from error
    _refuse_interpolation(text, "the configuration")
    return _resolve(OmegaConf.structured(RunConfig), [OmegaConf.create(value)])


def config_as_json(config: RunConfig) -> dict[str, Any]:
    """The configuration as a JSON object; the run's digest is taken over it."""
    return asdict(config)


def config_as_yaml(config: RunConfig) -> str:
    """The configuration as YAML, for the run folder."""
    return str(yaml.safe_dump(config_as_json(config), sort_keys=False))


def read_run_config(path: Path) -> RunConfig:
    """The configuration of an earlier run, from the `config.yaml` in its folder.

    Raises:
        ConfigError: The file is missing, is not YAML or does not fit the schema.
    """
    return config_from_json(_read_values(path))


def config_digest(config: RunConfig) -> str:
    """SHA-256 over the canonical JSON of the configuration."""
    return digest(config_as_json(config))


def _read_values(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a run's configuration ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: holds no configuration")
    return value


def _read_layer(path: Path) -> DictConfig:
    values = _read_values(path)
    _refuse_interpolation(str(values), str(path))
    return OmegaConf.create(values)


@cache
def _shipped(encoder: str, scenario: str | None) -> DictConfig:
    """What the package's own files say of an encoder and a scenario; not to be changed."""
    layers = [_read("base.yaml"), _read_named("models", encoder, option="encoder.name")]
    if scenario is not None:
        layers.append(_read_named("scenarios", scenario, option="--scenario"))
    return _merged(OmegaConf.structured(RunConfig), layers)


def _merged(below: DictConfig, layers: Sequence[DictConfig]) -> DictConfig:
    """Layers upon what is below them; each is checked."""
    try:
        return cast("DictConfig", OmegaConf.merge(below, *layers))
    except OmegaConfBaseException:
        # OmegaConf does not say in which layer it was: one by one they do, and that is slow.
        for layer in layers:
            try:
                below = cast("DictConfig", OmegaConf.merge(below, layer))
            except OmegaConfBaseException as error:
                raise _as_config_error(error, layer) from error
        raise


def _resolve(below: DictConfig, layers: Sequence[DictConfig]) -> RunConfig:
    merged = _merged(below, layers)
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        raise ConfigError(f"{missing[0]}: has no value; give it with {missing[0]}=VALUE")
    config = cast("RunConfig", OmegaConf.to_object(merged))
    if config.privacy.epsilon == math.inf:
        config.privacy.epsilon = None
    check_ranges(config_as_json(config))
    _check_fairness(config)
    emphasis_of(config)
    return config


def _check_fairness(config: RunConfig) -> None:
    """Return where what is to be told of groups, and checked, goes together.

    Raises:
        ConfigError: It does not.
    """
    asked, exact = config.fairness, config.evaluation.epsilon is None
    if asked.epsilon is not None and exact:
        raise ConfigError("fairness.epsilon: figures by group with noise need evaluation.epsilon; give it too")
    checked = [key for key in ("max_gap", "min_group_recall") if getattr(asked, key) is not None]
    if checked and asked.epsilon is None and not exact:
        raise ConfigError(
            f"fairness.{checked[0]}: no figures by group are told to check it with; give fairness.epsilon"
        )
    if asked.epsilon is not None:
        table_of(asked)
    elif checked:
        marginals_of(replace(asked, intersections=[]))  # exact figures are not told of intersections


def _parse(text: str) -> DictConfig:
    key, equals, _ = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text}: not an override; write key=value, for example federation.rounds=10")
    _refuse_interpolation(text, key)
    try:
        return OmegaConf.from_dotlist([text])
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{key}: the value cannot be read as YAML") from error


def _refuse_interpolation(text: str, where: str) -> None:
    """A configuration means the same on every machine, so no value may stand for another or for the environment."""
    if "${" in text:
        raise ConfigError(f"{where}: ${{...}} is not supported; write the value itself")


def _as_config_error(error: OmegaConfBaseException, layer: DictConfig) -> ConfigError:
    types = dict(_leaf_types(RunConfig))
    key = str(error.full_key or next(iter(layer)))
    if isinstance(error, ConfigKeyError):
        return ConfigError(f"{key}: unknown key; {near(key, list(types))}")
    kind = _TYPE_WORDS.get(types.get(key.partition("[")[0], ""), "keys below it, not a value")
    return ConfigError(f"{key}={OmegaConf.select(layer, key)}: wrong type; it takes {kind}")


def _leaf_types(section: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of the schema with its annotation."""
    for field in fields(section):
        below = getattr(schema, str(field.type), None)
        if below is None:
            yield f"{prefix}{field.name}", str(field.type)
        else:
            yield from _leaf_types(below, f"{prefix}{field.name}.")


def _read_named(folder: str, name: str, *, option: str) -> DictConfig:
    known = sorted(
        file.name.removesuffix(".yaml")
        for file in (resources.files("configs") / folder).iterdir()
        if file.name.endswith(".yaml")
    )
    if name not in known:
        raise ConfigError(f"{option} {name}: unknown; {near(name, known)}")
    return _read(f"{folder}/{name}.yaml")


@cache
def _read(name: str) -> DictConfig:
    """A file of the package; not to be changed."""
    text = (resources.files("configs") / name).read_text(encoding="utf-8")
    return cast("DictConfig", OmegaConf.create(text or "{}"))
