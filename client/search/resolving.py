"""A handle that another hospital was told, opened where its study lies; who opens it says why, and the log keeps it."""

from __future__ import annotations

from datetime import datetime

from client.policy.site_schema import SiteConfig
from client.search.generation import search_folder
from client.search.index import SearchIndex
from client.search.opened import note_opened
from client.search.told_handles import open_handles
from client.state_folder import KEY_FILE
from common.errors import ConfigError
from common.trust.keys import SigningKey


def resolve(config: SiteConfig, told: str, *, reason: str, now: datetime) -> str:
    """The hospital's own identifier of a study.

    Args:
        config: The hospital's own configuration.
        told: The handle as another hospital was told it.
        reason: Why it is opened.
        now: The time, with the hospital's time zone.

    Raises:
        ConfigError: There is no reason, or the handle is none of this hospital or too old.
        TrustError: The index does not hold, or the study was withdrawn; nothing is told where it cannot be noted.
    """
    if not reason.strip():
        raise ConfigError("--reason: is empty; say why the study is looked up, for the hospital's own log")
    state = config.state_folder
    handle = open_handles(state, days=config.search.handle_days).own(told, today=now.date())
    key = SigningKey.load(state / KEY_FILE)
    study = SearchIndex.open_as_made(search_folder(config), key=key.public).study_of(handle)
    note_opened(state, study=study, told=told, reason=reason.strip(), now=now)
    return study
