"""Handles that are told open at their own hospital alone, for some days, and say nothing."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from client.search.told_handles import ToldHandles, open_handles
from common.errors import ConfigError, TrustError

TODAY = date(2026, 11, 30)
OWN = "0123456789abcdef0123456789abcdef"


def handles(days: int = 7) -> ToldHandles:
    return ToldHandles(AESSIV.generate_key(512), days=days)


def test_told_handle_opens_until_its_days_are_over() -> None:
    ours = handles(days=3)
    told = ours.told(OWN, today=TODAY)
    for age in (0, 1, 2):
        assert ours.own(told, today=TODAY + timedelta(days=age)) == OWN
    for age in (3, 400, -1):
        with pytest.raises(ConfigError, match="days old"):
            ours.own(told, today=TODAY + timedelta(days=age))


def test_told_handle_is_the_same_on_one_day_and_another_on_the_next() -> None:
    ours = handles()
    assert ours.told(OWN, today=TODAY) == ours.told(OWN, today=TODAY)
    assert ours.told(OWN, today=TODAY) != ours.told(OWN, today=TODAY + timedelta(days=1))
    assert OWN not in ours.told(OWN, today=TODAY)


def test_handle_whose_day_is_changed_does_not_open() -> None:
    ours = handles()
    old, new = ours.told(OWN, today=TODAY), ours.told(OWN, today=TODAY + timedelta(days=9))
    with pytest.raises(ConfigError, match="none of this hospital"):
        ours.own(new[:4] + old[4:], today=TODAY + timedelta(days=9))


@pytest.mark.parametrize("told", ["", "x", "../../../etc/passwd", "A" * 60, "ä" * 20, OWN])
def test_what_is_no_handle_does_not_open(told: str) -> None:
    with pytest.raises(ConfigError, match="none of this hospital"):
        handles().own(told, today=TODAY)


def test_handle_of_another_hospital_does_not_open() -> None:
    with pytest.raises(ConfigError, match="none of this hospital"):
        handles().own(handles().told(OWN, today=TODAY), today=TODAY)


def test_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    told = open_handles(tmp_path, days=7).told(OWN, today=TODAY)
    assert open_handles(tmp_path, days=7).own(told, today=TODAY) == OWN
    (key,) = tmp_path.iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    with pytest.raises(TrustError):
        open_handles(tmp_path, days=7)
