"""The first screen of the report: what came out, in a sentence and four numbers, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.report import reputation, robustness, sentences, words
from server.report.fairness.release_words import passed, withheld
from server.report.statistic import Statistic, Statistics

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Headline:
    """One of the large numbers under the first sentence.

    Attributes:
        label: What it is.
        figure: The number, as text.
        note: What it must be read with.
        marked: Whether it was released without noise.
    """

    label: str
    figure: str
    note: str
    marked: bool = False


@dataclass(frozen=True)
class Notice:
    """Something the reader must know before the numbers.

    Attributes:
        text: One sentence.
        details: One line for each hospital concerned.
        grave: Whether it casts doubt on the run, beyond a hospital that missed some rounds.
    """

    text: str
    details: tuple[str, ...] = ()
    grave: bool = False


@dataclass(frozen=True)
class Outcome:
    """The first screen.

    Attributes:
        sentence: What came out.
        headlines: The main numbers.
        notices: What went wrong.
    """

    sentence: str
    headlines: tuple[Headline, ...]
    notices: tuple[Notice, ...]


def outcome(summary: Summary) -> Outcome:
    """The first screen of a run."""
    found = retrieval(summary)
    compared = _grid_headlines(summary)
    own = (*_retrieval_headlines(summary, found), _epsilon_headline(summary), _sites_headline(summary))
    return Outcome(
        _sentence(summary, found["reached"]),
        tuple(compared) or own,
        tuple(_notices(summary)),
    )


def retrieval(summary: Summary) -> dict[str, Statistic]:
    """Recall at 10 from image to report: `reached`, `start` (the public start model) and `chance`.

    From the sums of what the hospitals told with noise; over the pooled gallery in a simulation that tells exact
    figures; otherwise the mean of the hospitals, each with its own gallery.
    """
    statistics = Statistics(summary)
    if summary.get("consortium"):
        hospitals = [statistics.at("sites", site, "chance_recall_at_10") for site in summary["sites"]]
        return {
            "reached": statistics.at("consortium", "final", "recall_at_10"),
            "start": statistics.at("consortium", "start", "recall_at_10"),
            "chance": _mean(hospitals),
        }
    if summary.get("pooled"):
        return {
            "reached": statistics.at("pooled", "recall_at_10"),
            "start": statistics.at("pooled", "start", "recall_at_10"),
            "chance": statistics.at("pooled", "chance_recall_at_10"),
        }
    paths = {
        "reached": ("metrics", "recall_at_10"),
        "start": ("start_metrics", "recall_at_10"),
        "chance": ("chance_recall_at_10",),
    }
    return {
        name: _mean([statistics.at("sites", site, *path) for site in summary["sites"]]) for name, path in paths.items()
    }


def joined_sites(summary: Summary) -> list[str]:
    """The sites whose update was admitted at least once."""
    return [name for name, site in summary["sites"].items() if site["rounds_joined"] > 0]


def _mean(statistics: list[Statistic]) -> Statistic:
    present = [statistic for statistic in statistics if statistic.value is not None]
    mean = words.mean(statistic.value for statistic in present)
    return Statistic(mean, private=all(statistic.private for statistic in present))


def _sentence(summary: Summary, reached: Statistic) -> str:
    rounds, sites = summary["rounds_completed"], len(joined_sites(summary))
    if summary["status"] == "failed":
        done = f"after {words.plural(rounds, 'round')} of {words.spelled(summary['rounds_planned'])}"
        return f"The run failed {done}: {summary['reason'] or 'no reason was recorded'}."
    verdict = robustness.verdict(summary)
    if verdict is not None:
        return verdict
    trained = words.capital(f"{words.plural(sites, 'hospital')} trained one model in {words.plural(rounds, 'round')}")
    if withheld(summary):
        trained = f"{trained}; it must not be published"
    if (told := sentences.helped(summary)) is not None:
        return f"{trained}. {told}"
    if reached.value is None:
        return f"{trained}."
    return f"{trained}; the right report is among the first ten for {words.percent(reached.value)} of images."


def _retrieval_headlines(summary: Summary, found: Mapping[str, Statistic]) -> list[Headline]:
    reached, start, chance = found["reached"], found["start"], found["chance"]
    if reached.value is None:
        return []
    if summary.get("consortium"):
        where = "of the hospitals' held-out patients together"
    elif summary.get("pooled") and (gallery := summary["pooled"].get("gallery")):
        where = f"of {words.count(gallery)} held-out reports"
    else:
        where = "mean of the hospitals"
    gain = reached.minus(start)
    return [
        Headline(
            "Right report in first 10",
            words.percent(reached.value),
            f"{where}; chance {words.percent(chance.value)}",
            reached.marked,
        ),
        Headline(
            "Points above the public start",
            words.points(gain.value),
            f"the start model alone: {words.percent(start.value)}",
            gain.marked,
        ),
    ]


def _grid_headlines(summary: Summary) -> list[Headline]:
    """What a grid of attacks came to; none for a run of another kind."""
    rows = robustness.rule_rows(summary)
    marked = not Statistics(summary).is_private("robustness")
    headlines = []
    for row in dict.fromkeys([*rows[:1], *(row for row in rows if row.is_mean)]):
        worst = min(filter(None, row.worst), key=lambda one: one.kept, default=None)
        figure = f"{words.whole_percent(worst.kept)}%" if worst else words.DASH
        under = f"under the attack {words.attack(worst.attack)}" if worst else "it refused"
        headlines.append(Headline(f"Kept at worst: {row.rule}", figure, under, marked))
    if rows:
        held = f"{sum(row.holds for row in rows)} of {len(rows)}"
        note = f"keep {words.whole_percent(robustness.HOLDS)}% under every attack"
        headlines.append(Headline("Rules that hold", held, note, marked))
    for one in summary["robustness"]["references"][:1] if rows else ():
        note = f"right report in first 10, {words.privacy(one['epsilon'])}"
        headlines.append(Headline("Unattacked mean", words.percent(one["recall_at_10"]), note, marked))
    return headlines


def _epsilon_headline(summary: Summary) -> Headline:
    spent = [(site["epsilon"], site["delta"]) for site in summary["sites"].values() if site["epsilon"] is not None]
    if not spent:
        return Headline("Privacy", "none", "trained without differential privacy")
    highest, delta = max(spent)
    note = f"at delta {words.decimal(delta)}; unit: patient; neighbouring relation: add or remove one"
    return Headline("Highest epsilon of a hospital", words.epsilon(highest), note)


def _sites_headline(summary: Summary) -> Headline:
    joined, all_sites = len(joined_sites(summary)), len(summary["sites"])
    rounds = f"{summary['rounds_completed']} of {summary['rounds_planned']} rounds"
    note = f"{rounds} in {words.duration(summary['seconds'])}"
    return Headline("Hospitals that took part", f"{joined} of {all_sites}", note)


def _notices(summary: Summary) -> list[Notice]:
    sites, target = summary["sites"], summary["privacy"]["target_epsilon"]
    over = [name for name, site in sites.items() if target is not None and (site["epsilon"] or 0) > target]
    absent = [name for name, site in sites.items() if site["rounds_joined"] == 0]
    dropped = [name for name, site in sites.items() if site["drops"] and name not in absent]
    failed = summary["status"] == "failed"
    short = summary["rounds_completed"] < summary["rounds_planned"]
    rounds = f"{summary['rounds_completed']} of {summary['rounds_planned']}"
    notices = _of_the_gate(summary)
    if failed:
        notices.append(Notice("The run failed: any numbers below are of the last completed round.", grave=True))
    if short and not failed:
        notices.append(Notice(f"Stopped after {rounds} planned rounds.", grave=True))
    if target is None:
        notices.append(Notice("Trained without differential privacy: no noise protects the updates.", grave=True))
    if over:
        notices.append(Notice(f"Epsilon passed its target at {words.listing(over)}.", grave=True))
    if absent:
        details = tuple(_drops(name, sites[name]) for name in absent)
        notices.append(Notice("No update of these hospitals entered the model:", details, grave=True))
    if dropped:
        details = tuple(_drops(name, sites[name]) for name in dropped)
        notices.append(Notice("These hospitals were left out of some rounds:", details))
    if not summary.get("pooled") and any(site.get("statistics_epsilon") is not None for site in sites.values()):
        noise = "The hospitals told their figures with noise: with few held-out patients these say little"
        notices.append(Notice(f"{noise}, as the intervals show."))
    notices += _of_the_server(summary)
    if summary.get("robustness"):
        text = "A comparison of many federations; the figures of single hospitals are of one in which nobody attacked."
        notices.insert(0, Notice(text))
    if (repeats := words.num_repeats(summary)) > 1:
        text = (
            f"Figures of hospitals and groups are means over {words.spelled(repeats)} repeats, and their ranges the "
            "means of the repeats' ranges. Drops and weights are of the first repeat."
        )
        notices.append(Notice(text))
    return notices


def _of_the_gate(summary: Summary) -> list[Notice]:
    """Whether the model may be published, where the config asks."""
    if reasons := withheld(summary):
        return [Notice("The model must not be published:", tuple(reasons), grave=True)]
    return [] if (line := passed(summary)) is None else [Notice(line)]


def _resting(summary: Summary) -> list[Notice]:
    if not (resting := sentences.resting(summary)):
        return []
    text = "The rule hardly used the updates of these hospitals, so that they were asked no more in this run:"
    return [Notice(text, tuple(resting))]


def _of_the_server(summary: Summary) -> list[Notice]:
    """What the server did with what it got."""
    notices = []
    if (told := sentences.stepped_back(summary)) is not None:
        notices.append(Notice(told))
    if warnings := reputation.warnings(summary):
        text = "The server let these hospitals count for little, which is no proof of malice:"
        notices.append(Notice(text, tuple(warnings)))
    return notices + _resting(summary)


def _drops(name: str, site: Mapping[str, Any]) -> str:
    """The drops of one hospital in one line."""
    reasons = [f"{words.drop_reason(code)} ({words.plural(number, 'round')})" for code, number in site["drops"].items()]
    return f"{name}: {'; '.join(reasons) or 'never asked'}"
