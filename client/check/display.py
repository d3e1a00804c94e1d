"""A dry run as tables for a terminal of 80 columns, and as one JSON object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from client.check.budget import BudgetCheck
from client.check.dry_run import DryRun, RunCheck
from client.check.readiness import Copies, Readiness
from client.check.way_out import WayOutCheck
from client.data.splits import Role
from client.policy.site_schema import SiteConfig
from client.store.check import Whole
from common.ledger.entries import HELD_OUT, TRAINING

COHORTS = {TRAINING: "training patients", HELD_OUT: "held-out patients"}
FEW_ROWS = 10
"""Unreadable rows that a terminal lists; the JSON object lists all."""
PASSES, REFUSES, REMARK = "[green]passes[/green]", "[red]refuses[/red]", "[yellow]look[/yellow]"
FINE, WRONG = "[green]fine[/green]", "[red]wrong[/red]"


def as_json(result: DryRun) -> dict[str, Any]:
    """The dry run as one JSON object; it holds exact counts and is the hospital's own."""
    return {
        "site": result.site,
        "data": asdict(result.readiness),
        "problems": list(result.problems),
        "run": None if result.run is None else _run_as_json(result.run),
        "budget": _budget_as_json(result.budget),
        "forecast": None if result.forecast is None else result.forecast.as_json(),
        "line": None if result.line is None else result.line.as_json(),
    }


def show(result: DryRun, site: SiteConfig, console: Console) -> None:
    """Print the tables."""
    tables = [_data_table(result.readiness, site)]
    if result.readiness.bad_rows:
        tables.append(_bad_rows_table(result.readiness))
    if result.run is not None:
        tables.append(_verdicts_table(result.run))
    for table in (*tables, _budget_table(result)):
        console.print(table)
        console.print()
    if result.run is not None:
        console.print(f"Digest of this run's config: {result.run.config_digest}", soft_wrap=True, highlight=False)
    _show_sentences(result, console)
    for remark in _remarks(result.readiness):
        console.print(f"{REMARK}: {escape(remark)}", highlight=False)
    for problem in result.problems:
        console.print(f"{WRONG}: {escape(problem)}", highlight=False)
    for refusal in result.budget.refusals:
        console.print(f"{REFUSES}: {escape(refusal)}", highlight=False)
    if not (result.problems or result.budget.refusals or (result.run is not None and result.run.refusals)):
        console.print(f"{FINE}: nothing stands against {'the data' if result.run is None else 'this run'}")


def _remarks(data: Readiness) -> Iterator[str]:
    if data.unpaired and data.num_studies:
        yield (
            "unpaired studies are trained on where a run's loss.name names unpaired, and measured in none: "
            f"{'; '.join(data.unpaired.remedies)}"
        )
    yield from data.remarks.sentences()[1:]


def _show_sentences(result: DryRun, console: Console) -> None:
    if result.forecast is not None:
        console.print(escape(result.forecast.sentence), highlight=False)
    if result.line is not None:
        mark = REMARK if result.line.is_too_much_for_a_slow_line else FINE
        console.print(f"{mark}: {escape(result.line.sentence)}", highlight=False)


def show_way_out(way: WayOutCheck, console: Console) -> None:
    """Print whether the server is reached."""
    by = "" if way.proxy is None else f" through {way.proxy}"
    told = f"{FINE}: the server at {escape(way.address)} answers{escape(by)}"
    console.print(told if way.problem is None else f"{REMARK}: {escape(way.problem)}", highlight=False)


def _run_as_json(run: RunCheck) -> dict[str, Any]:
    return {
        "config_digest": run.config_digest,
        "verdicts": [
            {
                "rule": verdict.rule,
                "looked_at": verdict.looked_at,
                "passes": verdict.refusal is None,
                "refusal": None if verdict.refusal is None else str(verdict.refusal),
            }
            for verdict in run.verdicts
        ],
    }


def _budget_as_json(check: BudgetCheck) -> dict[str, Any]:
    """Null stands for an infinite epsilon."""
    outlooks = [asdict(outlook) for outlook in check.outlooks]
    return {
        **asdict(check.budget),
        "has_ledger": check.has_ledger,
        "num_other_data": check.num_other_data,
        "cohorts": [
            {name: None if figure == math.inf else figure for name, figure in outlook.items()} for outlook in outlooks
        ],
    }


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def show_whole(prepared: Sequence[Whole], console: Console) -> None:
    """Print what was prepared and is as it was written."""
    for one in prepared:
        size = one.num_bytes / 1e9
        console.print(f"Prepared, {one.num_studies:,} studies, {one.num_public:,} public, {size:.2f} GB: as written")
    if not prepared:
        console.print("Nothing is prepared yet; wardround site prepare does it")


def _data_table(data: Readiness, site: SiteConfig) -> Table:
    table = _table(f"Data of {escape(site.site)} (exact, for this screen only)", "what", "found", "")
    for what, found, mark in _data_rows(data, site):
        table.add_row(what, escape(found), mark)
    return table


def _data_rows(data: Readiness, site: SiteConfig) -> Iterator[tuple[str, str, str]]:
    by_role = data.num_by_role
    yield "studies", f"{data.num_studies:,} of {data.num_patients:,} patients", ""
    public = f", {by_role[Role.PUBLIC]:,} public" if by_role[Role.PUBLIC] else ""
    yield (
        "patients by side",
        f"{by_role[Role.TRAIN]:,} train, {by_role[Role.TEST]:,} held out{public}",
        "",
    )
    yield "on two sides", f"{data.num_on_two_sides:,}", WRONG if data.num_on_two_sides else FINE
    yield "patients band", f"{data.patients_band}: what the server learns of it", ""
    if data.unpaired:
        yield "with unpaired", f"{data.most_patients_band}: the same of a run that trains on unpaired studies", ""
    too_large = site.budget.delta > data.delta
    yield "delta", f"{site.budget.delta:.1e}, at most {data.delta:.1e} for the band", WRONG if too_large else FINE
    blank = [f"{name} {count:,}" for name, count in data.missing.items() if count]
    yield "blank fields", ", ".join(blank) or "none", ""
    yield "table", data.remarks.written, ""
    unread = [f"{name} {count:,}" for name, count in data.remarks.num_unread.items()]
    yield "not understood", ", ".join(unread) or "none", REMARK if unread else FINE
    alike, across = data.remarks.num_alike, data.remarks.num_shared_across
    yield "patient ids alike", f"{alike:,} pairs", REMARK if alike else FINE
    yield "reports across", f"{across:,} of other patients on the other side", REMARK if across else FINE
    yield "nearly flat", f"{data.num_flat:,} pictures", REMARK if data.num_flat else FINE
    yield "grey range", _grey_range(site), ""
    yield "repeated study ids", f"{data.num_repeated:,}", REMARK if data.num_repeated else FINE
    yield "same image", _copies_in_words(data.same_images), _copies_mark(data.same_images)
    yield "same report", _copies_in_words(data.same_reports), _copies_mark(data.same_reports)
    lone = f"; {data.num_lone_patients:,} training patients have no others" if data.num_lone_patients else ""
    yield "unpaired studies", f"{data.unpaired.in_words}{lone}", REMARK if data.unpaired else FINE
    yield "unreadable rows", f"{len(data.bad_rows):,}", REMARK if data.bad_rows else FINE
    yield "burned-in text", *_burned_in(data, site)


def _grey_range(site: SiteConfig) -> str:
    if site.data.adapter == "dicom":
        return "as each instance says"
    if site.data.pixel_bits:
        return f"of 16-bit pictures: 0 to {2**site.data.pixel_bits - 1}, as data.pixel_bits says"
    return "of 16-bit pictures: each its own, data.pixel_bits sets one"


def _copies_in_words(copies: Copies) -> str:
    if not copies.num_groups:
        return "none"
    return f"{copies.num_studies:,} studies share {copies.num_groups:,}; {copies.num_across_patients:,} across patients"


def _copies_mark(copies: Copies) -> str:
    return REMARK if copies.num_across_patients else FINE


def _burned_in(data: Readiness, site: SiteConfig) -> tuple[str, str]:
    if site.data.adapter != "dicom" and not data.num_burned_in:
        return "a picture cannot declare it: look at a few", REMARK
    if site.data.allow_burned_in:
        return "data.allow_burned_in lets it in, uncounted", REMARK
    return f"{data.num_burned_in:,} refused; not all declare it: look at a few", REMARK


def _bad_rows_table(data: Readiness) -> Table:
    table = _table("Rows that cannot be read", "file", "row", "reason")
    for row in data.bad_rows[:FEW_ROWS]:
        table.add_row(escape(row.file), str(row.row or ""), escape(row.reason))
    if len(data.bad_rows) > FEW_ROWS:
        table.add_row("", "", f"and {len(data.bad_rows) - FEW_ROWS:,} more; --json lists all")
    return table


def _verdicts_table(run: RunCheck) -> Table:
    table = _table("Rules, for this run", "rule", "looked at", "")
    for verdict in run.verdicts:
        table.add_row(verdict.rule, escape(verdict.looked_at), PASSES if verdict.refusal is None else REFUSES)
        if verdict.refusal is not None:
            table.add_row("", escape(str(verdict.refusal)), "")
    return table


def _budget_table(result: DryRun) -> Table:
    check, outlooks = result.budget, result.budget.outlooks
    table = _table(f"Budget at delta {check.budget.delta:.1e}", "epsilon, adding or removing one", *COHORTS.values())
    for column in table.columns[1:]:
        column.justify = "right"

    def row(what: str, figures: Iterable[float]) -> None:
        table.add_row(what, *(f"{figure:.3f}" for figure in figures))

    row("cap over all runs", (check.cap for _ in outlooks))
    row("spent" if check.has_ledger else "spent (no ledger yet)", (outlook.spent for outlook in outlooks))
    if result.run is not None:
        row("this run alone", (outlook.cost for outlook in outlooks))
        row("spent after it", (outlook.after for outlook in outlooks))
    row("remaining" if result.run is None else "remaining after it", (outlook.remaining for outlook in outlooks))
    if check.num_other_data:
        table.add_row(f"other data sets in the ledger: {check.num_other_data}", REMARK)
    return table
