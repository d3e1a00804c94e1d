"""`wardround site recover`: the one way on for a hospital whose ledger is gone, or older than its own audit log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from client.check.budget import accounts_of, budget_of
from client.check.planned import planned_events
from client.deploy.approval import BUNDLES_FOLDER
from client.ledger.ledger import Ledger
from client.ledger.lost import PaidRelease, lost_releases, releases_in
from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from client.state_folder import KEY_FILE, LEDGER_FILE, LOG_FOLDER
from common.bundle import read_bundle
from common.config.schema import RunConfig
from common.errors import LedgerError, TrustError
from common.evidence.audit_log import AuditLog
from common.evidence.log_files import is_log
from common.files import sha256_hex
from common.ledger.books import Books
from common.ledger.entries import HELD_OUT, TRAINING, Account, Recovered
from common.ledger.head_file import check_against_head_file, head_file_of, read_head
from common.ledger.read import read_books
from common.privacy.accountant import epsilon_of
from common.privacy.bands import band_of
from common.privacy.events import Event, SampledGaussian
from common.privacy.plan import privacy_plan
from common.trust.display import confirm
from common.trust.keys import SigningKey
from common.wire.flower import GROUPS, STATISTICS

ALL_THERE_IS = SampledGaussian(noise_multiplier=0.0, sampling_probability=1.0, steps=1)
"""The charge for a release of which nothing is known: a Gaussian without noise, whose epsilon is infinite."""

_OF_HELD_OUT = frozenset({STATISTICS, GROUPS})
"""Releases that speak of held-out patients."""

NUMBERS_OF_PATIENTS = (1, *(2**power for power in range(3, 21)))
"""One of each band that a hospital may have been in."""


def recover_command(
    *,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The hospital's own site.yaml.")],
    yes: Annotated[bool, typer.Option("--yes", help="It was looked at already: do not ask.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print what was charged as one JSON object.")] = False,
) -> None:
    """Charge what this hospital's audit log proves and its ledger has lost.

    First look for the newest ledger: to put it back is better. Each release in the log that no entry pays for is
    charged again by the run's approved bundle, at its dearest; where that bundle is not here any more, or the log is
    gone too, the patients have spent all that there is. A ledger that cannot be read is kept aside. Exits with 4 where
    the log does not hold.
    """
    site = load_site_config(config)
    noted = releases_in(site.state_folder)
    path = site.state_folder / LEDGER_FILE
    books = _believable(path, site)
    key = SigningKey.load(site.state_folder / KEY_FILE)
    lost = lost_releases(books, noted)
    if not lost:
        _tell(
            {"recovered": 0}, "The ledger has all that the audit log notes; nothing is to be recovered", as_object=json_
        )
        return
    charges = _charges(site, lost)
    for line in _in_words(charges):
        typer.echo(line, err=json_)
    confirm("Charge these to the patients, for good?", yes=yes)
    if not len(books):
        _set_aside(path)
    with Ledger.open(path, site=site.site, key=key, budget=budget_of(site)) as ledger:
        ledger.recover(charges)
        epsilon = {account.cohort: ledger.spent(account).epsilon for account in accounts_of(site)}
    if not is_log(site.state_folder / LOG_FOLDER):
        AuditLog(site.state_folder / LOG_FOLDER, owner=site.site, key=key).close()
    _tell(
        {"recovered": len(charges), "epsilon": {name: _or_none(spent) for name, spent in epsilon.items()}},
        f"Charged {len(charges):,} releases; wardround site budget shows what is left",
        as_object=json_,
    )


def _believable(path: Path, site: SiteConfig) -> Books:
    """What a ledger holds; nothing where it is gone, damaged, another's, or behind its own head file."""
    try:
        books = read_books(path) if path.exists() else Books()
        head = read_head(path)
        if len(books) and head is not None:
            check_against_head_file(path, books, head)
    except LedgerError as error:
        typer.echo(f"Not believed: {error}", err=True)
        return Books()
    return books if len(books) and books.opened.site == site.site else Books()


def _charges(site: SiteConfig, lost: Sequence[PaidRelease]) -> list[Recovered]:
    """What each lost release is charged with, to whose account."""
    runs = _approved_runs(site.state_folder / BUNDLES_FOLDER)
    accounts = {account.cohort: account for account in accounts_of(site)}
    dearest = {
        (run, cohort): _dearest(config, cohort, delta=site.budget.delta)
        for run, config in runs.items()
        for cohort in accounts
        if any(release.run == run for release in lost)
    }
    charges = []
    for release in lost:
        account = _account_of(release, accounts)
        charges.append(
            Recovered(
                account=account,
                run=release.run,
                round_number=release.round_number,
                release=release.release,
                event=dearest.get((release.run, account.cohort), ALL_THERE_IS),
                lost=release.entry,
            )
        )
    return [*charges, *_silent_measurements(lost, runs, accounts[HELD_OUT], dearest)]


def _silent_measurements(
    lost: Sequence[PaidRelease],
    runs: Mapping[str, RunConfig],
    held_out: Account,
    dearest: Mapping[tuple[str, str], Event],
) -> list[Recovered]:
    """Charges for measurements of which the log says nothing.

    One may have been reserved and not have left: the process was killed, or, in earlier versions, the noised number of
    held-out patients was too small. So each run is charged for as many measurements as it could have asked for.
    """
    charges = []
    for run in dict.fromkeys(release.run for release in lost):
        known = sum(release.run == run and release.release in _OF_HELD_OUT for release in lost)
        planned = len(planned_events(runs[run], None)[HELD_OUT]) if run in runs else 1
        charges += [
            Recovered(
                account=held_out,
                run=run,
                round_number=0,
                release=STATISTICS,
                event=dearest.get((run, HELD_OUT), ALL_THERE_IS),
                lost=sha256_hex(f"{run} {HELD_OUT} {number}".encode()),
            )
            for number in range(known, planned)
        ]
    return charges


def _account_of(release: PaidRelease, accounts: Mapping[str, Account]) -> Account:
    return accounts[HELD_OUT if release.release in _OF_HELD_OUT else TRAINING]


def _approved_runs(folder: Path) -> dict[str, RunConfig]:
    """The runs whose bundles are still here and hold, by the digest of their configuration."""
    found = {}
    for path in folder.glob("*.bundle"):
        try:
            bundle = read_bundle(path)
        except TrustError as error:
            typer.echo(f"Left out: {error}", err=True)
            continue
        found[bundle.run] = bundle.config
    return found


def _dearest(config: RunConfig, cohort: str, *, delta: float) -> Event:
    """What one release of a run costs a cohort at most: over all bands, for it is not noted which it was."""
    plans = (privacy_plan(config, band_of(number)) for number in NUMBERS_OF_PATIENTS)
    events = {event for plan in plans for event in planned_events(config, plan)[cohort]}
    return max(events, key=lambda event: epsilon_of([event], delta=delta), default=ALL_THERE_IS)


def _set_aside(ledger: Path) -> None:
    """Keep what cannot be believed beside the new ledger; nothing of it is ever deleted."""
    mark = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for part in (ledger, *(ledger.with_name(ledger.name + end) for end in ("-wal", "-shm")), head_file_of(ledger)):
        if part.exists():
            part.rename(part.with_name(f"{part.name}.before-{mark}"))


def _in_words(charges: Sequence[Recovered]) -> list[str]:
    counts = Counter((charge.run, charge.account.cohort, charge.event == ALL_THERE_IS) for charge in charges)
    return [
        f"run {run[:12]}: {count:,} releases of {cohort} patients, "
        + ("whose bundle is not here: all that there is" if unknown else "by its bundle, at its dearest")
        for (run, cohort, unknown), count in counts.items()
    ]


def _tell(said: Mapping[str, Any], words: str, *, as_object: bool) -> None:
    typer.echo(json.dumps(said, indent=2) if as_object else words)


def _or_none(epsilon: float) -> float | None:
    """JSON knows no infinity."""
    return None if epsilon == float("inf") else epsilon
