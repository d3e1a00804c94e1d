"""What the commands that make trust say to a person: digests to compare, ends that come near, and the question."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from datetime import datetime

import typer

from common.errors import CheckFailed, ConfigError
from common.trust.times import Expiry

_LOG = logging.getLogger(__name__)


def spoken(digest: str) -> str:
    """A digest in groups of four, to be read over the telephone."""
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))


def show_expiries(expiries: Iterable[Expiry], now: datetime) -> None:
    """Print when each ends, and warn of those that end soon."""
    for expiry in expiries:
        typer.echo(expiry.in_words(now)[:1].upper() + expiry.in_words(now)[1:])
        if expiry.is_near(now):
            _LOG.warning("%s; %s", expiry.in_words(now), expiry.remedy)


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person at a terminal, and return where they agree.

    Args:
        question: What to agree to.
        yes: Whether they agreed before they were asked.

    Raises:
        CheckFailed: They do not agree.
        ConfigError: There is no terminal to ask at.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask at; compare what is shown, then repeat with --yes")
    if not typer.confirm(question):
        raise CheckFailed("not confirmed; nothing was changed")
