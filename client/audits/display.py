"""A bias audit on a terminal: its findings in sentences, and what was looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from client.audits.interface import Audited, Verdict
from client.audits.words import headline

if TYPE_CHECKING:
    from client.audits.audit import BiasAudit

_MARKS = {
    Verdict.FOUND: "[yellow]look[/yellow]",
    Verdict.EXPECTED: "[dim]expected[/dim]",
    Verdict.CANNOT_TELL: "[dim]cannot tell[/dim]",
}


def show_bias(bias: BiasAudit, console: Console) -> None:
    """Print each audit's question and what is to be said to it."""
    console.print(f"\nBias audit of {escape(bias.title)} (exact, for this screen only)", highlight=False)
    seen = f"{bias.num_studies:,} studies of {bias.num_patients:,} patients"
    left_out = f"; {bias.num_left_out:,} more patients were not looked at" if bias.num_left_out else ""
    console.print(f"{seen}{left_out}. {headline(bias.num_found)}.", highlight=False)
    for audit in bias.audits:
        console.print(f"\n{escape(audit.question)}", highlight=False, style="bold")
        _show(audit, console)


def _show(audit: Audited, console: Console) -> None:
    silent = [finding for finding in audit.findings if finding.verdict is Verdict.NOT_FOUND]
    for finding in audit.findings:
        if finding.verdict is not Verdict.NOT_FOUND:
            console.print(f"{_MARKS[finding.verdict]}: {escape(finding.sentence)}", highlight=False)
    if silent:
        console.print(f"[green]nothing[/green] in {len(silent)} of {len(audit.findings)} tests", highlight=False)
