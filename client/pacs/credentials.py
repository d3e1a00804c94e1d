"""How a hospital shows its archive who asks: from a file that its owner alone can read, or from the environment.

Never from the command line, which every user of a machine can read, nor from an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common.errors import ConfigError
from common.trust.key_files import read_private

VARIABLE = "WARDROUND_PACS_LOGIN"
"""Variable of the environment that holds what the file would."""

_BEARER = "Bearer "


def login_of(file: Path | None, environment: Mapping[str, str]) -> tuple[str, str] | str | None:
    """User and password, or a token, or None where there is neither a file nor the variable.

    Args:
        file: Holds one line: `user:password`, or `Bearer TOKEN`.
        environment: Where there is no file, `VARIABLE` in it.

    Raises:
        ConfigError: The line is of another form.
        TrustError: The file cannot be read, or others could read it too.
    """
    if file is None and not environment.get(VARIABLE):
        return None
    where = VARIABLE if file is None else str(file)
    try:
        line = environment[VARIABLE] if file is None else read_private(file, what="login").decode().strip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: no text in UTF-8; write one line, user:password or Bearer TOKEN") from error
    if line.startswith(_BEARER) and line.removeprefix(_BEARER).strip().isprintable():
        return line.removeprefix(_BEARER).strip()
    user, colon, password = line.partition(":")
    if not (user and colon and password and line.isprintable()):
        raise ConfigError(f"{where}: holds no login; write one line, user:password or Bearer TOKEN")
    return user, password
