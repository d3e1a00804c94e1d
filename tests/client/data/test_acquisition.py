"""Days and modalities as departments write them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.data.acquisition import EARLIEST_YEAR, LATEST_YEAR, acquisition_of, date_of, modality_of
from client.data.demographics import UnreadValue

DAYS = st.dates(date(EARLIEST_YEAR, 1, 1), date(LATEST_YEAR, 12, 31))
BEHIND = ["", " ", "T10:30:00", " 10:30", "T10:30:00+02:00", ".0"]


@given(DAYS, st.sampled_from(["%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"]), st.sampled_from(BEHIND))
def test_day_is_read_in_every_form_that_names_one(day: date, form: str, behind: str) -> None:
    assert date_of(day.strftime(form) + behind) == day


@given(st.text(alphabet="0123456789-./ T", max_size=12))
def test_text_is_a_day_nothing_or_refused(text: str) -> None:
    try:
        found = date_of(text)
    except UnreadValue:
        return
    assert found is None or (found.strftime("%Y") in text and found.strftime("%d") in text)


@pytest.mark.parametrize(
    "text",
    [
        "03/04/2020",
        "2020",
        "202013",
        "20200230",
        "18000101",
        "00010101",
        "2020-0101",
        "2020-01/01",
        "soon",
        "\uff19\uff19",
    ],
)
def test_what_is_no_one_day_is_not_understood(text: str) -> None:
    with pytest.raises(UnreadValue, match="date"):
        date_of(text)
    found = acquisition_of(date=text, modality="CT")
    assert (found.date, found.modality, found.unread) == (None, "CT", ("date",))


@pytest.mark.parametrize(
    ("text", "name"),
    [("CT", "CT"), (" mr ", "MR"), ("MRI", "MR"), ("pet", "PT"), ("n/a", None)],
)
def test_modality_is_dicoms_short_name(text: str, name: str | None) -> None:
    assert modality_of(text) == name


@pytest.mark.parametrize("text", ["computed tomography", "<b>", "1", "C", "A" * 17])
def test_what_is_no_modality_is_not_understood(text: str) -> None:
    assert acquisition_of(date=None, modality=text).unread == ("modality",)


def test_nothing_told_is_nothing_known() -> None:
    found = acquisition_of(date=None, modality="")
    assert (found.date, found.modality, found.unread) == (None, None, ())
    assert date_of((date(2024, 2, 28) + timedelta(days=1)).isoformat()) == date(2024, 2, 29)
