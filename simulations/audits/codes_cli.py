"""`wardround audit codes`: what codes of a simulation's studies give away of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common.console import Terminal
from common.fairness.intervals import Interval
from simulations.audits.code_linkage import Linkage
from simulations.audits.codes import EMBEDDING, RANDOM, CodeAudit, Revealed, audit_codes
from simulations.search.building import studies_of
from simulations.search.opened_run import open_run


def codes_command(
    *,
    run: Annotated[Path, typer.Option(metavar="RUN", help="Folder of a simulation's run that has ended.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Measure what codes of a run's studies give away: whose they are, and what can be read off them, by width.

    Beside each width stand the embedding that the code is cut from, and random codes, which must come out at chance.
    Then what answers let out of it: a patient of two hospitals, and how much of an index colluding askers learn.
    The last table says what randomised response on a question's code would cost. Exits with 0 whatever is found,
    1 where the run has not ended or has failed,
    2 where RUN is not the folder of one simulation.
    """
    opened = open_run(run)
    audit = audit_codes(opened, studies_of(opened, progress=lambda _: None))
    if as_json:
        typer.echo(json.dumps(audit.as_json(), indent=2, allow_nan=False))
        return
    console = Terminal()
    for gallery in dict.fromkeys(row.gallery for row in audit.revealed):
        rows = [row for row in audit.revealed if row.gallery == gallery]
        console.print(_linkage(gallery, rows, audit))
        console.print(_inversion(gallery, rows, audit))
    console.print(_over_sites(audit))
    console.print(_learned(audit))
    console.print(_randomised(audit))
    if opened.stands_for_start:
        console.print("The model is the public start, which the run stands for: training was not published.")


def _linkage(gallery: str, rows: Sequence[Revealed], audit: CodeAudit) -> Table:
    table = Table("code", "nearer than others", "of same findings", "nearest of all", "by chance", "read")
    counted = max((row.linkage.num_studies for row in rows if row.linkage is not None), default=0)
    table.title = (
        f"By {gallery}: {counted:,} studies whose patient has another, of {audit.num_patients:,} patients; and the "
        "mean area of what a line reads"
    )
    for row in rows:
        read = "-" if row.mean_area is None else f"{row.mean_area:.2f}"
        table.add_row(row.of, *_of_linkage(row.linkage), read)
    return table


def _of_linkage(found: Linkage | None) -> tuple[str, str, str, str]:
    if found is None:
        return "-", "-", "-", "-"
    alike = "-" if found.area_same_findings is None else f"{found.area_same_findings:.2f}"
    first = f"{found.first:.1%} ({found.first_interval.low:.1%} to {found.first_interval.high:.1%})"
    return _with(found.area, found.area_interval), alike, first, f"{found.first_by_chance:.1%}"


def _inversion(gallery: str, rows: Sequence[Revealed], audit: CodeAudit) -> Table:
    shown = [row for row in rows if row.of in {f"{audit.bit_width} bits", EMBEDDING, RANDOM}]
    title = f"What a line reads off {gallery}, fitted to {audit.num_public:,} public studies: area under the curve"
    table = Table("trait", *(row.of for row in shown), title=title)
    for number, read in enumerate(shown[0].read):
        table.add_row(read.trait, *(_with(row.read[number].area, row.read[number].interval) for row in shown))
    return table


def _over_sites(audit: CodeAudit) -> Table:
    table = Table("code", "told", "nearer than others", "of same findings", "nearest of all", "by chance")
    table.title = "A patient of two hospitals, by what both tell an asker of their images"
    for row in audit.over_sites:
        table.add_row(row.of, row.told, *_of_linkage(row.linkage))
    return table


def _learned(audit: CodeAudit) -> Table:
    table = Table("askers", "limits of site.yaml", "questions", "answered", "studies learned", "share")
    table.title = "What askers who collude learn of the largest hospital's index in one day"
    for row in audit.learned:
        numbers = (f"{number:,}" for number in (row.questions, row.answered))
        limits = "as where nothing is set" if row.limited else "none"
        table.add_row(str(row.askers), limits, *numbers, f"{row.studies:,} of {row.of:,}", f"{row.share:.0%}")
    return table


def _randomised(audit: CodeAudit) -> Table:
    widths = sorted({row.bits for row in audit.flipped})
    table = Table("epsilon of a question", *(f"{bits} bits" for bits in widths))
    table.title = "Recall at 10, image to report, with bits of the question flipped by chance"
    recall = {(row.epsilon, row.bits): row.recall_at_10 for row in audit.flipped}
    for epsilon in dict.fromkeys(row.epsilon for row in audit.flipped):
        name = "none flipped" if epsilon is None else f"{epsilon:g}"
        table.add_row(name, *(f"{recall[epsilon, bits]:.3f}" for bits in widths))
    return table


def _with(value: float, interval: Interval) -> str:
    return f"{value:.2f} ({interval.low:.2f}-{interval.high:.2f})"
