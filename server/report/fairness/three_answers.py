"""The first screen's three answers: who is served worst, how sure that is, and what it cost. Plain sentences.

Each figure stands with its interval. Where noise and chance leave it open, "we cannot tell" is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.report import words
from server.report.fairness.gains import GAINS, LOSES, GainRow, site_gains
from server.report.fairness.gaps import fairness_of
from server.report.fairness.groups import of_all_sites
from server.report.statistic import Statistics
from server.report.tables import silent_sites

Summary = Mapping[str, Any]

_LOSS = "a privacy loss (epsilon: the less, the safer)"


@dataclass(frozen=True)
class AnsweredQuestion:
    """One question of the first screen.

    Attributes:
        question: As a person asks it.
        answer: The sentence that answers it.
        more: Sentences that it must be read with.
    """

    question: str
    answer: str
    more: tuple[str, ...] = ()


def three_answers(summary: Summary) -> tuple[AnsweredQuestion, ...]:
    """The three answers; none for a comparison of many federations under attack."""
    if summary.get("robustness") or not summary["sites"]:
        return ()
    return (
        AnsweredQuestion("Who is served worst?", *_worst(summary)),
        AnsweredQuestion("How sure are we?", *_sureness(summary)),
        AnsweredQuestion("What did it cost?", *_cost(summary)),
    )


def are_marked(summary: Summary) -> bool:
    """Whether the answers read figures that were released without noise."""
    statistics = Statistics(summary)
    return bool(summary["groups"]) and not statistics.is_private("groups")


def _worst(summary: Summary) -> tuple[str, tuple[str, ...]]:
    told = {name: found for name, found in summary["fairness"].items() if found.get("gap_interval") is not None}
    hospital = _worst_hospital(summary)
    if not told:
        return "We cannot tell of groups of patients: too few of them are large enough to be shown.", hospital
    surest = sorted(told, key=lambda name: told[name]["gap_interval"][0], reverse=True)
    sure = [name for name in surest if told[name]["gap_interval"][0] > 0]
    if not sure:
        name = max(told, key=lambda name: told[name]["gap"])
        return (
            "We cannot tell: no group of patients is below another by more than noise and chance make. The widest gap "
            f"is that of {_group(summary, name)}.",
            hospital,
        )
    also = [f"Also {_group(summary, name)}." for name in sure[1:]]
    return f"{words.capital(_group(summary, sure[0]))}.", (*also, *hospital)


def _group(summary: Summary, attribute: str) -> str:
    """The group served worst by an attribute, its rate, and how far below the best one it is."""
    found = summary["fairness"][attribute]
    worst = found["worst_group"]
    low, high = found["gap_interval"]
    return (
        f"{words.group(worst['group'])} (by {words.attribute(attribute).lower()}): the right report is among the first "
        f"ten for {_rate(summary, attribute, worst)} of their images, {words.unsigned(found['gap'])} points less often "
        f"than for another group ({words.unsigned(low)} to {words.unsigned(high)})"
    )


def _rate(summary: Summary, attribute: str, worst: Mapping[str, Any]) -> str:
    rows = [
        row
        for row in summary["groups"]
        if (row["site"], row["attribute"], row["group"]) == (worst["site"], attribute, worst["group"])
    ]
    ends = (rows[0]["intervals"] or {}).get("recall_at_10") if rows else None
    between = f" ({words.percent(ends[0])} to {words.percent(ends[1])})" if ends else ""
    return f"{words.percent(worst['recall_at_10'])}{between}"


def _worst_hospital(summary: Summary) -> tuple[str, ...]:
    """The hospital served worst, where all were measured over the same public gallery; else nothing is compared."""
    silent = silent_sites(summary)
    rows = [
        {
            "site": name,
            "attribute": "site",
            "group": name,
            "suppressed": False,
            "metrics": site["metrics"],
            "intervals": site["intervals"],
        }
        for name, site in summary["sites"].items()
        if site["private"] and site["metrics"] and name not in silent
    ]
    found = fairness_of(rows).get("site")
    if found is None:
        return ()
    low, high = (words.unsigned(end) for end in found["gap_interval"])
    gap = f"{words.unsigned(found['gap'])} points below another ({low} to {high})"
    if found["gap_interval"][0] > 0:
        return (f"Of the hospitals {found['worst_group']['site']} is served worst, {gap}.",)
    return ("Between the hospitals we cannot tell.",)


def _sureness(summary: Summary) -> tuple[str, tuple[str, ...]]:
    rows = of_all_sites(summary["groups"])
    shown = [row for row in rows if not row["suppressed"]]
    if not rows:
        return "No figures by group were told, so nothing can be said of groups.", ()
    first = rows[0]["attribute"]
    patients = sum(row["num_patients"] or 0 for row in shown if row["attribute"] == first)
    repeats = words.num_repeats(summary)
    each = f" in each of the {words.spelled(repeats)} repeats" if repeats > 1 else ""
    answer = (
        f"Every range is a 95% interval; a gap's holds for all pairs of groups together. About {words.count(patients)} "
        f"held-out patients are behind them{each}; {len(shown)} of {len(rows)} groups are large enough to be shown."
    )
    if noise := summary.get("groups_noise"):
        made = f"The ranges hold the noise too: about {noise['deviation']:.0f} patients in each count of a hospital."
    else:
        made = "The figures by group are without noise, so they are of a simulation alone."
    return answer, (made,)


def _cost(summary: Summary) -> tuple[str, tuple[str, ...]]:
    rows = site_gains(summary)
    more = (_of_each_repeat(summary), _gain(summary), _change(rows), _least_weight(rows))
    return _epsilon(summary), tuple(filter(None, more))


def _of_each_repeat(summary: Summary) -> str | None:
    """That an epsilon is that of one repeat."""
    repeats = words.num_repeats(summary)
    if repeats == 1 or not any(site["epsilon"] or site.get("statistics_epsilon") for site in summary["sites"].values()):
        return None
    return f"That is the price of one of the {words.spelled(repeats)} repeats: whoever is in several pays in each."


def _gain(summary: Summary) -> str | None:
    """What taking part changed for all hospitals together."""
    if not (gain := summary.get("difference")):
        return None
    value, low, high = (words.points(gain[end]) for end in ("recall_at_10", "low", "high"))
    found = "how often the right report is among the first ten changed"
    return f"In return {found} by {value} points at all hospitals together ({low} to {high})."


def _epsilon(summary: Summary) -> str:
    spent = [(site["epsilon"], site["delta"]) for site in summary["sites"].values() if site["epsilon"] is not None]
    held_out = [site["statistics_epsilon"] for site in summary["sites"].values() if site.get("statistics_epsilon")]
    if not spent:
        training = "No noise protects the training patients"
    else:
        highest, delta = max(spent)
        training = (
            f"Each training patient paid {_LOSS} of up to {words.epsilon(highest)} at delta {words.decimal(delta)}"
        )
    if not held_out:
        return f"{training}; figures of held-out patients are without noise."
    groups = summary.get("groups_noise")
    by_group = f" and {groups['epsilon']:g} for those by group" if groups else ""
    paid = "" if spent else f" paid {_LOSS} of"
    return f"{training}; each held-out patient{paid} {max(held_out):g} for the figures of all{by_group}."


def _change(rows: list[GainRow]) -> str | None:
    """What taking part changed, from the hospital that lost most, or gained least, to the one that gained most."""
    told = sorted((row for row in rows if row.gain.interval is not None), key=lambda row: row.gain.value or 0.0)
    if not told:
        return "Whether any one hospital gained, we cannot tell."
    ends = [f"{words.points(row.gain.value)} points at {row.name} ({_ends(row)})" for row in (told[0], told[-1])]
    said = f"By hospital this changed by {' to '.join(dict.fromkeys(ends))}"
    gained, lost = (sum(row.verdict == verdict for row in rows) for verdict in (GAINS, LOSES))
    untold = len(rows) - gained - lost
    rest = f", and of {words.spelled(untold)} we cannot tell" if untold else ""
    return f"{said}: {_number(gained)} surely gained, {_number(lost)} surely lost{rest}."


def _number(hospitals: int) -> str:
    return words.spelled(hospitals) if hospitals else "none"


def _ends(row: GainRow) -> str:
    low, high = row.gain.interval or (None, None)
    return f"{words.points(low)} to {words.points(high)}"


def _least_weight(rows: list[GainRow]) -> str | None:
    weighed = [row for row in rows if row.weight.value is not None and row.equal_share is not None]
    if not weighed:
        return None
    least = min(weighed, key=lambda row: row.weight.value or 0.0)
    counted, equal = words.percent(least.weight.value), words.percent(least.equal_share)
    if counted == equal:
        return None
    return f"{least.name} counted for least in the model: {counted}, an equal share is {equal}."
