"""The file that names the cohort of a run whose hospitals share noise: who they are, how large, and with which keys.

    north: {band: 64-127, key: 5f0c...}
    south: {band: 128-255, key: 91ab...}

The coordinating centre makes it of its member list and of what hospitals say of their size, and gives it to
`wardround bundle`. A hospital approves it with the bundle: the names and keys in it are those that it will share noise
with, whatever the server says later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from common.config.ranges import check_band
from common.errors import ConfigError
from common.trust.names import NAME_RULE, is_name

_KEY = re.compile(r"[0-9a-f]{64}")
_REMEDY = "make the file with wardround server cohort"


@dataclass(frozen=True, kw_only=True)
class Member:
    """A hospital of a cohort.

    Attributes:
        band: Band of its training patients.
        key: Its signing key, in hexadecimal.
    """

    band: str
    key: str


def read_cohort(path: Path) -> dict[str, Member]:
    """The members in a file, by name.

    Raises:
        ConfigError: The file cannot be read, or holds anything else.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as a cohort ({type(error).__name__}); {_REMEDY}") from error
    if not isinstance(said, dict) or not said:
        raise ConfigError(f"{path}: names no hospital; {_REMEDY}")
    return {str(name): _member(path, str(name), value) for name, value in said.items()}


def cohort_as_yaml(members: Mapping[str, Member]) -> str:
    """The file's text."""
    return str(yaml.safe_dump({name: asdict(member) for name, member in members.items()}, sort_keys=True))


def _member(path: Path, name: str, value: Any) -> Member:  # noqa: ANN401 - what a YAML file holds
    if not is_name(name):
        raise ConfigError(f"{path}: {name}: not a name; {NAME_RULE}")
    if not isinstance(value, dict) or value.keys() != {"band", "key"}:
        raise ConfigError(f"{path}: {name}: needs band and key and nothing else; {_REMEDY}")
    member = Member(band=str(value["band"]), key=str(value["key"]))
    if not _KEY.fullmatch(member.key):
        raise ConfigError(f"{path}: {name}: key is no public key of 64 of 0-9 and a-f; {_REMEDY}")
    check_band(member.band, f"{path}: {name}:")
    return member
