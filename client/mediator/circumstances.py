"""Whose studies, of what age, and from when, as a query says it: only where it says it in so many words.

An age is taken as it is said: "45-year-old" is 45 and no other age, "in her fifties" 50 to 59, "over 60" 61 and up.
Words for a time of life have the bounds of MeSH's age groups: infant up to 1, child up to 17 (MeSH parts children and
adolescents; a query that says "child" or "paediatric" means no adult), adult from 18, elderly from 65. A date is a
year, a month or a day; a length of time counts back from the day of asking.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import date, timedelta

from client.mediator.plan import Ages, Dates, Sex, Span, why_of
from common.errors import PlanError

_YEARS_OLD = r"[\s-]*(?:years?[\s-]*old|yrs?[\s-]*old|y\s*/\s*o|y\.o\.?|yo|years? of age|years|yrs?|y)\b"
_AGE = r"(\d{1,3})"
_NO_LENGTH = rf"\b(?:{_YEARS_OLD})?(?!\s*[cm]?m\b|\.\d|\s*%|\s*(?:hu|slices|ml|cc)\b)"
"""Years may follow, and no length or other measure: "a mass over 40 mm" names no age."""
_SEXES = {
    "F": r"females?|wom[ae]n|girls?|lady|ladies|\d{1,3}\s*(?:y\s*/?\s*o\s*|y\s*)?(f)|her|she",
    "M": r"males?|m[ae]n|boys?|gentlem[ae]n|\d{1,3}\s*(?:y\s*/?\s*o\s*|y\s*)?(m)|his|he",
}
_LIFE = (
    (r"neonat(?:e|es|al)|newborns?", 0, 0),
    (r"infants?|infancy|bab(?:y|ies)", 0, 1),
    (r"adolescents?|teen(?:ager?)?s?", 13, 18),
    (r"child(?:ren|hood)?|p(?:a)?ediatric|kids?|toddlers?|boys?|girls?", 0, 17),
    (r"adults?", 18, None),
    (r"elderly|geriatric|old age", 65, None),
)
_DECADES = ("twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties")

_OVER, _UNDER = r"over|above|older than|more than|>", r"under|below|younger than|less than|<"

_Bounds = tuple[int | None, int | None]
_AGES: tuple[tuple[str, Callable[[re.Match[str]], _Bounds]], ...] = (
    (rf"(?:aged?|between|from)\s+(?:of\s+)?{_AGE}\s*(?:-|to|and|\u2013)\s*{_AGE}{_NO_LENGTH}", lambda m: _two(m)),
    (rf"{_AGE}\s*(?:-|to|\u2013)\s*{_AGE}{_YEARS_OLD}", lambda m: _two(m)),
    (rf"(?:aged?\s+)?(?:at least|>=|\u2265)\s*{_AGE}{_NO_LENGTH}", lambda m: (int(m[1]), None)),
    (rf"{_AGE}\s*(?:years? )?(?:and|or) (?:older|over|above)", lambda m: (int(m[1]), None)),
    (rf"(?:aged?\s+)?(?:{_OVER})\s*(?:the age of\s+)?{_AGE}{_NO_LENGTH}", lambda m: (int(m[1]) + 1, None)),
    (rf"(?:aged?\s+)?(?:{_UNDER})\s*(?:the age of\s+)?{_AGE}{_NO_LENGTH}", lambda m: (None, int(m[1]) - 1)),
    (rf"(?:up to|at most|<=|\u2264)\s*{_AGE}{_YEARS_OLD}", lambda m: (None, int(m[1]))),
    (rf"(?:in (?:his|her|their|the)\s+)(?:(early|mid|late)[\s-]+)?({'|'.join(_DECADES)}|\d0s)", lambda m: _decade(m)),
    (rf"(?:age|aged|age of)\s+{_AGE}\b", lambda m: (int(m[1]), int(m[1]))),
    (rf"{_AGE}{_YEARS_OLD}(?!\s*(?:ago|follow|history|later|post))", lambda m: (int(m[1]), int(m[1]))),
    (rf"\b{_AGE}\s*[mf]\b", lambda m: (int(m[1]), int(m[1]))),
)  # fmt: skip

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_YEAR = r"((?:19|20)\d\d)"
_DAY = rf"(?:{_YEAR}-(\d\d)-(\d\d)|(?:(\d{{1,2}})\s+)?(?:({'|'.join(_MONTHS)})[a-z]*\s+)?{_YEAR})"
_MOST_AGE = 130
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
_COUNTS, _UNIT = "|".join(_NUMBERS), "(day|week|month|year)"


def sex_of(query: str) -> Sex | None:
    """Whose studies; None where the query names neither, or both."""
    found = {
        value: tuple(Span(*m.span()) for m in re.finditer(rf"(?i)(?<!%)\b(?:{words})\b", query))
        for value, words in _SEXES.items()
    }
    named = [value for value, spans in found.items() if spans]
    return Sex(value=named[0], why=why_of(found[named[0]])) if len(named) == 1 else None


def ages_of(query: str, *, apart_from: Dates | None = None) -> Ages | None:
    """Of what age; the first way of saying it that fits counts, a number before a time of life.

    Args:
        query: The words.
        apart_from: Dates that they name, whose characters name no age: "the last 3 years".
    """
    for span in () if apart_from is None else apart_from.why:
        query = query[: span.start] + " " * (span.end - span.start) + query[span.end :]
    for pattern, bounds in _AGES:
        found = re.search(rf"(?i)(?<![\w.%]){pattern}", query)
        if found:
            return _ages(*bounds(found), Span(*found.span()))
    for words, least, most in _LIFE:
        spans = tuple(Span(*found.span()) for found in re.finditer(rf"(?i)\b(?:{words})\b", query))
        if spans:
            return Ages(least=least, most=most, why=why_of(spans))
    return None


def dates_of(query: str, *, today: date) -> Dates | None:
    """From when to when studies were made.

    Args:
        query: The words.
        today: The day of asking, which "the last two years" counts back from.
    """
    for pattern, period in _PERIODS:
        found = re.search(rf"(?i)\b{pattern}", query)
        if found:
            try:
                first, last = period(found, today)
                return Dates(first=first, last=last, why=(Span(*found.span()),))
            except (ValueError, PlanError):
                return None
    return None


def _ages(least: int | None, most: int | None, span: Span) -> Ages | None:
    if any(bound is not None and not 0 <= bound <= _MOST_AGE for bound in (least, most)):
        return None
    return Ages(least=least, most=most, why=(span,))


def _two(found: re.Match[str]) -> _Bounds:
    least, most = sorted((int(found[1]), int(found[2])))
    return least, most


def _decade(found: re.Match[str]) -> _Bounds:
    said = found[2].lower()
    start = int(said[:2]) if said[0].isdigit() else 20 + 10 * _DECADES.index(said)
    part = (found[1] or "").lower()
    low, high = {"early": (0, 3), "mid": (4, 6), "late": (7, 9)}.get(part, (0, 9))
    return start + low, start + high


_Period = tuple[date | None, date | None]


def _day(found: re.Match[str], at: int) -> tuple[date, date]:
    """First and last day of what groups from `at` name: a day, a month or a year."""
    if found[at]:
        day = date(int(found[at]), int(found[at + 1]), int(found[at + 2]))
        return day, day
    year = int(found[at + 5])
    if not found[at + 4]:
        return date(year, 1, 1), date(year, 12, 31)
    month = _MONTHS[found[at + 4].lower()]
    if found[at + 3]:
        day = date(year, month, int(found[at + 3]))
        return day, day
    return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])


def _back(found: re.Match[str], today: date) -> _Period:
    said = (found[1] or "one").lower()
    number = _NUMBERS[said] if said in _NUMBERS else int(said)
    unit = found[2].lower()
    if unit == "day":
        return today - timedelta(days=number), None
    if unit == "week":
        return today - timedelta(weeks=number), None
    months = number if unit == "month" else 12 * number
    year, month = divmod(12 * today.year + today.month - 1 - months, 12)
    return date(year, month + 1, min(today.day, calendar.monthrange(year, month + 1)[1])), None


_PERIODS: tuple[tuple[str, Callable[[re.Match[str], date], _Period]], ...] = (
    (rf"(?:from|between)\s+{_DAY}\s+(?:to|and|until|-)\s+{_DAY}", lambda m, _: (_day(m, 1)[0], _day(m, 7)[1])),
    (rf"{_YEAR}\s*(?:-|\u2013|to)\s*{_YEAR}", lambda m, _: (date(int(m[1]), 1, 1), date(int(m[2]), 12, 31))),
    (rf"(?:since|from|starting(?: in)?)\s+{_DAY}", lambda m, _: (_day(m, 1)[0], None)),
    (rf"after\s+{_DAY}", lambda m, _: (_day(m, 1)[1] + timedelta(days=1), None)),
    (rf"(?:before|prior to|earlier than)\s+{_DAY}", lambda m, _: (None, _day(m, 1)[0] - timedelta(days=1))),
    (rf"(?:until|up to|through)\s+{_DAY}", lambda m, _: (None, _day(m, 1)[1])),
    (rf"(?:in|during|of|scanned|from the year)\s+{_DAY}", lambda m, _: _day(m, 1)),
    (rf"(?:in|from|within|over|of|during)?\s*(?:the\s+)?(?:last|past)\s+(\d{{1,2}}|{_COUNTS})?\s*{_UNIT}s?\b", _back),
)  # fmt: skip
