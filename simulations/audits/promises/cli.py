"""`wardround audit all`: every promise, held against a run folder and what hospitals handed over, as one report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from common.console import Terminal
from common.errors import CheckFailed, ConfigError, TrustError
from common.files import write_atomically
from common.trust.keys import PublicKey, SigningKey
from simulations.audits.promises import words
from simulations.audits.promises.attacks import read_attacks
from simulations.audits.promises.handed_over import handed_over
from simulations.audits.promises.opened import opened
from simulations.audits.promises.report import AuditReport, audit_report
from simulations.audits.promises.signed_report import refuse_taken, verify_report, write_report

PUBLIC_SUFFIX = ".public.pem"
"""Of the auditor's public key, beside the private one."""


def all_command(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="Folder of a run.")] = None,
    *,
    site: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="STATE",
            help="A hospital's state folder, or its ledger, log folder, search folder or site.yaml; repeat it.",
        ),
    ] = None,
    members: Annotated[Path | None, typer.Option(metavar="FILE", help="The server's members.json.")] = None,
    attacks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What wardround audit privacy --json printed.")
    ] = None,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Public key (PEM) of a log's owner, or with --verify of the auditor, got from elsewhere; repeat it.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="AUDITOR.pem", help="The auditor's private key, which signs the report; made if absent."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write page, JSON and DPIA annex there.")] = None,
    verify: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Check a signed report instead of making one.")
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
) -> None:
    """Hold each promise against a run folder and what hospitals hand over, and write one report of it.

    Nothing is trained, no network is asked, and no file that was handed over is changed. What was not handed over
    cannot be told, and is said.

    Exits with 0 where every promise holds,
    1 where a check fails, or a promise cannot be told,
    2 where something that was named is not there,
    4 where a signature, digest or ledger does not hold: the first such file is named.

    With --verify it checks a report that was signed: 0 where it is as it was signed, 1 where nobody signed it,
    4 where a file of it or the signature is another.
    """
    if verify is not None:
        if run is not None or site or members or attacks or key or out:
            raise ConfigError("--verify: checks a report that was made, and takes no RUN or other file; leave them out")
        _verify(verify, public_key or [], as_object=as_object)
        return
    if run is None:
        raise ConfigError("RUN: is missing; name the folder of a run, or a report with --verify")
    if key is not None and out is None:
        raise ConfigError("--key: signs the report that --out writes; name a folder with --out")
    if out is not None:
        refuse_taken(out)
    handed = handed_over(run, sites=site or (), members=members)
    rows = read_attacks(attacks) if attacks is not None else ()
    known = [PublicKey.load(path) for path in public_key or ()]
    signing = None if key is None else _signing_key(key)
    read = opened(handed, known=known)
    report = audit_report(read, attacks=rows)
    if out is not None:
        write_report(report, out, config=read.config.value, key=signing)
    if as_object:
        typer.echo(json.dumps(report.as_json(), indent=2, allow_nan=False))
    else:
        _show(report, out)
    if report.exit_code:
        error = TrustError if report.exit_code == TrustError.exit_code else CheckFailed
        raise error(report.first_failure)


def _signing_key(path: Path) -> SigningKey:
    """The auditor's key. The first report makes it, and its public half beside it, to be given away."""
    if path.exists():
        return SigningKey.load(path)
    key = SigningKey.create(path)
    write_atomically(path.with_suffix(PUBLIC_SUFFIX), key.public.pem)
    return key


def _verify(folder: Path, keys: list[Path], *, as_object: bool) -> None:
    if len(keys) > 1:
        raise ConfigError("--public-key: a report has one auditor; give one key")
    signed = verify_report(folder, known=PublicKey.load(keys[0]) if keys else None)
    if as_object:
        said = {"holds": True, "run": signed.run, "made_at": signed.made_at, "public_key": signed.public_key}
        typer.echo(json.dumps({**said, "public_key_known": bool(keys)}, indent=2))
        return
    how = "as given" if keys else "named by the report itself; give --public-key to check it"
    console = Terminal()
    console.print("The report holds: every file of it is as it was signed.", soft_wrap=True)
    console.print(f"Made: {signed.made_at}, of run {signed.run or 'not known'}", soft_wrap=True)
    console.print(f"Signed: by {signed.public_key} ({how})", soft_wrap=True)


def _show(report: AuditReport, out: Path | None) -> None:
    console = Terminal()
    table = Table(title="Each promise, from the files alone")
    for column in ("promise", "answer", "found"):
        table.add_column(column, overflow="fold")
    for kept in report.promises:
        more = [f"and {kept.num_more} more"] if kept.num_more else []
        table.add_row(kept.title, kept.answer.value, "\n".join([kept.sentence, *kept.because, *more]))
    console.print(table)
    if report.spent:
        spent = Table("hospital", "epsilon, all runs", "this run", "left", title="Epsilon by hospital, recomputed")
        for one in report.spent:
            figures = (one.epsilon, one.epsilon_of_run, one.remaining)
            spent.add_row(words.account(one), *map(words.number, figures))
        console.print(spent)
    if report.private_keys:
        told = ", ".join(map(str, report.private_keys))
        console.print(f"Private keys were handed over, and should not have been: {told}", soft_wrap=True)
    console.print(words.headline(report), soft_wrap=True)
    console.print("What was not tested stands beside each promise in the report (--out FOLDER).", soft_wrap=True)
    if out is not None:
        console.print(f"Report: {out / 'report.html'}", soft_wrap=True)
