"""YAML files that a person fills in, read strictly: a wrong line is one error that names the key and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from common.config.registry import near
from common.errors import ConfigError

T = TypeVar("T")

TYPE_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    bool: "true or false",
    list[str]: "a list of texts, such as [a, b]",
    dict[str, list[str]]: "names, each with a list of texts",
}
"""What a key takes, by its type; a schema has no others."""


def read_strict(path: Path, schema: type[T], *, remedy: str) -> T:
    """The values in a file, as a dataclass whose fields have the types of `TYPE_WORDS`, or are dataclasses of these.

    Args:
        path: The file.
        schema: The dataclass; what has no default must be given.
        remedy: What to do where there is no such file.

    Raises:
        ConfigError: The file cannot be read, or a key is unknown, missing or of a wrong type.
    """
    return _resolve(_read(path, remedy), schema)


def leaf_types(section: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the schema with its type, in its order."""
    hints = get_type_hints(section)
    for field in fields(cast("Any", section)):
        kind = hints[field.name]
        if is_dataclass(kind):
            yield from leaf_types(cast("type", kind), f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", kind


def _read(path: Path, remedy: str) -> DictConfig:
    try:
        text = path.read_text(encoding="utf-8")
        layer = OmegaConf.create(text)
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8; save it again as UTF-8") from error
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"is not YAML{_place(error)}; correct it") from error
    if "${" in text:
        raise ConfigError("${...} is not supported; write the value itself")
    if not isinstance(layer, DictConfig):
        raise ConfigError(f"holds no keys; {remedy}")
    return layer


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" at line {mark.line + 1} ({getattr(error, 'problem', None) or 'wrong form'})"


def _resolve(layer: DictConfig, schema: type[T]) -> T:
    types = dict(leaf_types(schema))
    merged = _merged(OmegaConf.structured(schema), layer, types)
    missing = OmegaConf.missing_keys(merged)
    if missing:
        first = next(key for key in types if key in missing)
        raise ConfigError(f"{first}: has no value; it takes {TYPE_WORDS[types[first]]}")
    return cast("T", OmegaConf.to_object(merged))


def _merged(below: DictConfig, layer: DictConfig, types: dict[str, Any]) -> DictConfig:
    """A file's values upon a schema; each is checked."""
    try:
        return cast("DictConfig", OmegaConf.merge(below, layer))
    except (OmegaConfBaseException, TypeError):
        # Some of OmegaConf's errors do not say which section they are about: one by one they do, and that is slow.
        for name, value in layer.items_ex(resolve=False):
            try:
                below = cast("DictConfig", OmegaConf.merge(below, {name: value}))
            except (OmegaConfBaseException, TypeError) as error:
                raise _as_config_error(error, str(name), types) from error
        raise


def _as_config_error(error: Exception, section: str, types: dict[str, Any]) -> ConfigError:
    key = str(getattr(error, "full_key", None) or section)
    if isinstance(error, ConfigKeyError):
        sections = {known.partition(".")[0] for known in types}
        return ConfigError(f"{key}: unknown key; {near(key, [*types, *sections])}")
    known = next((name for name in types if key == name or key.startswith((f"{name}.", f"{name}["))), None)
    kind = TYPE_WORDS[types[known]] if known else "keys below it, not a value"
    return ConfigError(f"{known or key}: wrong type; it takes {kind}")
