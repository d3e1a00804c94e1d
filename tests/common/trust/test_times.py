"""Ends: what holds, what is warned of, and times that are written in one way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from common.errors import TrustError
from common.trust.times import Expiry, as_text, from_text

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def ends(*, after: timedelta) -> Expiry:
    return Expiry(what="thing", begin=NOW - timedelta(days=90), end=NOW + after, remedy="make another")


def test_thing_holds_from_its_begin_until_before_its_end() -> None:
    thing = ends(after=timedelta(days=5))
    thing.check(NOW)
    thing.check(thing.begin)
    thing.check(thing.end - timedelta(seconds=1))
    with pytest.raises(TrustError, match="thing expired on 2026-11-29; make another"):
        thing.check(thing.end)
    with pytest.raises(TrustError, match=r"thing is not valid before 2026-08-26T12:00:00.*set the clock"):
        thing.check(thing.begin - timedelta(seconds=1))


@pytest.mark.parametrize(("days", "near"), [(31, False), (30, False), (29, True), (0, True), (-1, True)])
def test_end_is_warned_of_below_thirty_days(days: int, near: bool) -> None:  # noqa: FBT001 - a parameter
    assert ends(after=timedelta(days=days)).is_near(NOW) is near


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (timedelta(days=2), "thing: expires on 2026-11-26, in 2 days"),
        (timedelta(days=1, hours=5), "thing: expires on 2026-11-25, in 1 day"),
        (timedelta(hours=1), "thing: expires on 2026-11-24, in 0 days"),
        (timedelta(0), "thing: EXPIRED on 2026-11-24"),
    ],
)
def test_end_is_said_in_words(after: timedelta, said: str) -> None:
    assert ends(after=after).in_words(NOW) == said


def test_time_is_read_as_it_was_written() -> None:
    assert as_text(NOW) == "2026-11-24T12:00:00+00:00"
    assert from_text(as_text(NOW)) == NOW
    assert as_text(NOW.astimezone(timezone(timedelta(hours=5)))) == as_text(NOW)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-11-24", "2026-11-24T12:00:00", "2026-11-24T12:00:00+01:00", "2026-11-24T12:00:00.5+00:00"],
)
def test_time_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(TrustError):
        from_text(text)
