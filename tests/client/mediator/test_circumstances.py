"""Whose studies, of what age, from when: what a reader would write down."""

from datetime import date

import pytest

from client.mediator.circumstances import ages_of, dates_of, sex_of

TODAY = date(2026, 3, 31)


@pytest.mark.parametrize(
    ("query", "least", "most"),
    [
        ("a 45-year-old with pain", 45, 45),
        ("45 yo man", 45, 45),
        ("45 y/o", 45, 45),
        ("72M fall", 72, 72),
        ("aged 40 to 60", 40, 60),
        ("between 40 and 60 years", 40, 60),
        ("30-40 year old women", 30, 40),
        ("men over 60", 61, None),
        ("patients 65 and older", 65, None),
        ("at least 18", 18, None),
        ("under 5", None, 4),
        ("younger than 18 years", None, 17),
        ("in her fifties", 50, 59),
        ("in his early 60s", 60, 63),
        ("neonates", 0, 0),
        ("paediatric brain tumour", 0, 17),
        ("a teenage boy", 13, 18),
        ("elderly", 65, None),
        ("adults", 18, None),
    ],
)
def test_age_is_taken_as_it_is_said(query: str, least: int | None, most: int | None) -> None:
    found = ages_of(query)
    assert found is not None
    assert (found.least, found.most) == (least, most)
    assert all(query[span.start : span.end].strip() for span in found.why)


@pytest.mark.parametrize(
    "query",
    [
        "a mass over 40 mm",
        "from 20 to 30 mm",
        "nodule under 5 mm",
        "stenosis above 70%",
        "surgery 3 years ago",
        "T12 fracture",
        "C5 to C6",
        "3 cm",
        "aged 999",
        "",
    ],
)
def test_number_that_is_no_age_is_none(query: str) -> None:
    assert ages_of(query) is None


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("a woman", "F"),
        ("72M", "M"),
        ("girls", "F"),
        ("in his sixties", "M"),
        ("men and women", None),
        ("a humane plan", None),
    ],
)
def test_sex_is_taken_where_one_is_named(query: str, value: str | None) -> None:
    found = sex_of(query)
    assert (found and found.value) == value


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("since 2019", date(2019, 1, 1), None),
        ("from 2015 to 2018", date(2015, 1, 1), date(2018, 12, 31)),
        ("2015-2018", date(2015, 1, 1), date(2018, 12, 31)),
        ("in March 2020", date(2020, 3, 1), date(2020, 3, 31)),
        ("before 2010", None, date(2009, 12, 31)),
        ("after 5 May 2021", date(2021, 5, 6), None),
        ("since 2021-05-06", date(2021, 5, 6), None),
        ("in the last two years", date(2024, 3, 31), None),
        ("past 1 month", date(2026, 2, 28), None),
        ("over the last 10 days", date(2026, 3, 21), None),
        ("last year", date(2025, 3, 31), None),
    ],
)
def test_dates_are_counted_from_the_day_of_asking(query: str, first: date | None, last: date | None) -> None:
    found = dates_of(query, today=TODAY)
    assert found is not None
    assert (found.first, found.last) == (first, last)


@pytest.mark.parametrize(
    "query", ["since 2021-02-30", "from 2020 to 2010", "the last lobe", "2000 mm", "since surgery"]
)
def test_what_is_no_date_is_none(query: str) -> None:
    assert dates_of(query, today=TODAY) is None
