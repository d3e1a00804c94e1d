"""`report.html`: one file that needs no network, renders what a run released, and says what protects it.

The page carries a content security policy that names its two scripts by digest (CSP level 3): nothing is
fetched, and a script that came in through a site name or a report text would not run even if escaping failed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from common.files import write_atomically
from common.templates import page_templates
from server.report import heat_maps, plots, reputation, robustness, sentences, tables, words
from server.report.fairness import gains, more_figures, privacy_by_group, release_words
from server.report.fairness.group_history import histories, history_figure
from server.report.fairness.make_up import make_ups
from server.report.fairness.release_gate import withheld_because
from server.report.fairness.three_answers import are_marked, three_answers
from server.report.outcome import outcome
from server.report.remedies import LEAST_KEPT, remedies_figure, remedies_verdict, remedy_rows, thresholds_verdict
from server.report.statistic import Statistics
from server.report.summary import REPORT_FILE
from server.report.watched import watched_figure, watched_rounds
from server.report.widths import shape, widths_figure, widths_of

REPORT_EXCERPT = 420
"""Characters of a report text that the examples show."""

LEAST_GROUP = 11
"""Fewest patients of a group that is shown, where the summary does not say."""

# Paper is narrower than a screen; plotly draws to a fixed width and has to be told.
_DRAW = """
for (const place of document.querySelectorAll("[data-figure]")) {
  const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  Plotly.newPlot(place, figure.data, figure.layout, {responsive: true, displayModeBar: false});
  addEventListener("beforeprint", () => Plotly.relayout(place, {width: 660}));
  addEventListener("afterprint", () => Plotly.relayout(place, {width: null, autosize: true}));
}
"""


@dataclass(frozen=True)
class Retrieved:
    """One study that a query found.

    Attributes:
        report: Its text.
        site: The site that holds it.
        relevant: Whether it is a right answer.
        similarity: Cosine of the two embeddings.
        image: PNG.
    """

    report: str
    site: str
    relevant: bool
    similarity: float
    image: bytes


@dataclass(frozen=True)
class Example:
    """One query by image and what it found; held-out studies, so only a simulation may show them.

    Attributes:
        query_image: PNG.
        query_report: The query's own report, which the search did not see.
        query_site: The site that holds the query.
        results: Best first.
    """

    query_image: bytes
    query_report: str
    query_site: str
    results: tuple[Retrieved, ...]


def render(summary: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]], *, examples: Sequence[Example] = ()) -> str:
    """The report as one HTML page.

    Args:
        summary: The keys of `summary.schema.json`.
        rounds: The lines of `rounds.jsonl`.
        examples: Queries with their answers; none outside a simulation.
    """
    silent = tables.silent_sites(summary)
    curves = [curve for curve in plots.learning_curves(summary, rounds) if curve.site not in silent]
    baselines = tables.baseline_rows(summary)
    grids = robustness.grids(summary)
    backdoors = robustness.backdoor_rows(summary)
    weights = reputation.weight_map(summary, rounds)
    remedies = remedy_rows(summary)
    watched = watched_rounds(summary, rounds)
    widths = widths_of(summary)
    statistics = Statistics(summary)
    # Each curve is over its own hospital's gallery, so the pooled gallery's chance would be too low here.
    chance = words.mean(statistics.at("sites", curve.site, "chance_recall_at_10").value for curve in curves)
    over_time = histories(summary, rounds)
    figures = {
        "curves": plots.curves_figure(curves, chance=chance) if curves else None,
        "remedies": remedies_figure(remedies) if remedies else None,
        "baselines": plots.baselines_figure(baselines) if baselines else None,
        "watched": watched_figure(watched) if watched else None,
        "widths": widths_figure(widths) if widths else None,
        "weights": heat_maps.weights_figure(weights) if weights else None,
        "backdoor": heat_maps.backdoor_figure(backdoors, grids) if backdoors else None,
        "histories": history_figure(over_time) if any(len(one.moments) > 2 for one in over_time) else None,
        **{f"kept-{number}": heat_maps.kept_figure(grid) for number, grid in enumerate(grids)},
    }
    scripts = {"plotly": get_plotlyjs(), "draw": _DRAW} if any(figures.values()) else {}
    return (
        _environment()
        .get_template("template.html")
        .render(
            summary=summary,
            outcome=outcome(summary),
            answers=three_answers(summary),
            answers_marked=are_marked(summary),
            withheld=withheld_because(summary) is not None,
            gate_marked=not statistics.is_private("release"),
            groups_marked=not statistics.is_private("groups"),
            histories=over_time,
            site_gains=gains.site_gains(summary),
            group_gains=gains.group_gains(summary),
            privacy_rows=privacy_by_group.privacy_rows(summary),
            privacy_marked=not statistics.is_private("baseline_groups"),
            make_ups=make_ups(summary),
            figure_tables=more_figures.figure_tables(summary),
            words_of_figures=more_figures,
            words_of_release=release_words,
            words_of_gains=gains,
            words_of_privacy=privacy_by_group,
            sites=tables.site_rows(summary),
            grids=grids,
            rules=robustness.rule_rows(summary),
            backdoors=backdoors,
            holds=robustness.HOLDS,
            grids_marked=not statistics.is_private("robustness"),
            reputations=reputation.reputation_rows(summary),
            weights=weights,
            curves=curves,
            watched=watched,
            stepped_back=sentences.stepped_back(summary),
            widths=widths,
            widths_shape=shape(widths) if widths else "",
            widths_marked=not statistics.is_private("pooled"),
            curves_marked=not all(statistics.is_private("sites", curve.site, "metrics") for curve in curves),
            directions={
                "Image to report": tables.retrieval_rows(summary, prefix=""),
                "Report to image": tables.retrieval_rows(summary, prefix="text_to_image_"),
            },
            silent=silent,
            group_tables=tables.group_tables(summary),
            least_group=summary.get("least_group", LEAST_GROUP),
            remedies=remedies,
            remedies_verdict=remedies_verdict(summary),
            remedies_thresholds=thresholds_verdict(summary),
            remedies_marked=not statistics.is_private("remedies"),
            least_kept=LEAST_KEPT,
            baselines=baselines,
            baselines_marked=not statistics.is_private("baselines"),
            bad_rows_marked=not statistics.is_private("data"),
            examples=examples,
            figures={name: figure for name, figure in figures.items() if figure},
            scripts=scripts,
            script_digests=[_source_digest(script) for script in scripts.values()],
            style=Path(__file__).with_name("style.css").read_text(encoding="utf-8"),
            words=words,
            sentences=sentences,
        )
    )


def write_report(
    run_folder: Path,
    summary: Mapping[str, Any],
    rounds: Sequence[Mapping[str, Any]],
    *,
    examples: Sequence[Example] = (),
) -> Path:
    """Write `report.html` into the run's folder, whole or not at all.

    Returns:
        The file.

    Raises:
        OSError: The folder cannot be written.
    """
    path = run_folder / REPORT_FILE
    write_atomically(path, render(summary, rounds, examples=examples).encode())
    return path


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """Kept, for the template takes longer to compile than to fill."""
    environment = page_templates(Path(__file__).parent)
    environment.filters |= {
        "percent": words.percent,
        "rate": words.rate,
        "percent_range": words.percent_range,
        "whole_percent": words.whole_percent,
        "points": words.points,
        "decimal": words.decimal,
        "epsilon": words.epsilon,
        "count": words.count,
        "duration": words.duration,
        "moment": words.moment,
        "dash": _or_dash,
        "excerpt": _excerpt,
        "png": _data_address,
    }
    return environment


def _or_dash(value: object) -> object:
    """The value, or an en dash where there is none."""
    return words.DASH if value is None else value


def _excerpt(report: str) -> str:
    """The beginning of a report, cut at a word."""
    text = " ".join(report.split())
    return text if len(text) <= REPORT_EXCERPT else f"{text[:REPORT_EXCERPT].rsplit(' ', 1)[0]} …"


def _data_address(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _source_digest(script: str) -> str:
    """A script's digest as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
