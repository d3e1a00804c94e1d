"""`wardround site import`: its options, and which way to the archive they name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from client.pacs.address import check_line, check_url, dimse_address
from client.pacs.credentials import VARIABLE, login_of
from client.pacs.dicomweb import DicomWebArchive
from client.pacs.dimse import DimseArchive, MovingArchive
from client.pacs.display import Display, show_summary
from client.pacs.import_folder import ImportFolder
from client.pacs.importing import Done, Import, Wanted
from client.pacs.interface import Archive
from client.pacs.journal import opened_journal
from client.pacs.pace import Pace
from client.pacs.report_table import ReportTable, read_report_table
from client.pacs.web_session import WebSession
from client.policy.hours import Hours, hours_of
from common.console import Terminal
from common.errors import CheckFailed, ConfigError

_TALKATIVE = ("pydicom", "pynetdicom", "dicomweb_client", "retrying", "urllib3")
"""Libraries whose log quotes what they were given: names of patients, addresses with studies in them."""


def import_command(
    *,
    since: Annotated[str, typer.Option(metavar="DATE", help="First day of the studies, as 2024-01-31.")],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the studies go: a new folder, or one to go on in.")
    ],
    dicomweb: Annotated[str, typer.Option(metavar="URL", help="The archive, over DICOMweb: https://HOST/PATH.")] = "",
    aet: Annotated[str, typer.Option(metavar="TITLE@HOST:PORT", help="The archive, over DIMSE.")] = "",
    own_aet: Annotated[
        str, typer.Option("--own-aet", metavar="TITLE", help="Our AE title, as the archive's people entered it.")
    ] = "WARDROUND",
    listen: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=1, max=65535, help="With --aet: fetch by C-MOVE to this port, not by C-GET."),
    ] = None,
    until: Annotated[str, typer.Option(metavar="DATE", help="Last day of the studies; today when left out.")] = "",
    modality: Annotated[
        str, typer.Option(metavar="LIST", help="Only series of these modalities, as CR,DX; reports come in any case.")
    ] = "",
    reports: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Reports by accession_number; they go before the archive's."),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Fetch at most so many studies now.")] = None,
    per_minute: Annotated[
        int,
        typer.Option("--per-minute", metavar="N", min=1, max=60_000, help="Studies asked for in a minute, at most."),
    ] = 30,
    hours: Annotated[
        str, typer.Option(metavar="HH:MM-HH:MM", help="Local hours in which the archive is asked; it waits for them.")
    ] = "",
    login: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=f"With --dicomweb: one line, user:password or Bearer TOKEN; else ${VARIABLE} is read."
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --dicomweb: certificates to believe, PEM.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="The line to the archive is not encrypted, and the hospital knows it.")
    ] = False,
) -> None:
    """Fetch studies from the hospital's archive (PACS) into a folder that data.adapter=dicom reads.

    May be killed at any time; the same command goes on where it was, fetches nothing twice, and later adds what is new
    or has changed. Reports come from the archive's structured reports, or from --reports. Studies without a report,
    or without images, are kept in FOLDER/.import and counted, and get their place when the report is there.

    Nothing but the archive is spoken to. Exits with 0 when all that was found is here, 1 where the archive did not give
    a study or does not answer, 2 where an option, the login or the folder is wrong, 4 where a certificate is not
    believed.
    """
    wanted = Wanted(
        since=_day(since, "--since"),
        until=_day(until, "--until") if until else date.today(),  # noqa: DTZ011 - studies are dated in local time
        modalities=frozenset(name for part in modality.upper().split(",") if (name := part.strip())),
        limit=limit,
    )
    if wanted.until < wanted.since:
        raise ConfigError(f"--since {since}: is after the last day, {wanted.until}; give an earlier one")
    pace = Pace(per_minute, _hours(hours))
    table = ReportTable() if reports is None else read_report_table(reports)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    folder, done, display = ImportFolder(out), Done(), Display(Terminal(stderr=True))
    with (
        _archive(dicomweb, aet, own_aet, listen=listen, login=login, ca=ca, plain=plain) as archive,
        folder.opened(),
        opened_journal(folder.journal_path) as journal,
    ):
        journal.check_modalities(wanted.modalities)
        work = Import(
            archive=archive, folder=folder, journal=journal, table=table, wanted=wanted, pace=pace, watcher=display
        )
        try:
            with display:
                work.run(done)
        finally:
            failed = folder.write_failed(done.failed)
            show_summary(done, work.settle(), table, folder=out, console=Terminal())
    if done.failed:
        raise CheckFailed(
            f"{failed}: {len(done.failed):,} studies could not be fetched; it says why of each; the same command tries "
            "them again"
        )


@contextmanager
def _archive(
    dicomweb: str, aet: str, own_aet: str, *, listen: int | None, login: Path | None, ca: Path | None, plain: bool
) -> Iterator[Archive]:
    """The archive that the options name."""
    if bool(dicomweb) == bool(aet):
        raise ConfigError("give --dicomweb URL or --aet TITLE@HOST:PORT, one of them")
    if dicomweb:
        if listen is not None:
            raise ConfigError("--listen: goes with --aet, not with --dicomweb; leave it out")
        check_url(dicomweb, plain=plain)
        with closing(WebSession(login=login_of(login, os.environ), authority=ca)) as session:
            yield DicomWebArchive(dicomweb, session)
        return
    if login is not None or ca is not None:
        raise ConfigError("--login, --ca: go with --dicomweb, not with --aet, which knows neither; leave them out")
    address = dimse_address(aet, own_aet)
    check_line(address.host, plain=plain, option="--aet", remedy="use --dicomweb with https")
    if listen is None:
        yield DimseArchive(address)
        return
    archive = MovingArchive(address)
    with archive.listening(listen):
        yield archive


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: not a day; write YYYY-MM-DD, for example 2024-01-31") from error


def _hours(text: str) -> Hours | None:
    try:
        return hours_of(text)
    except ConfigError as error:
        raise ConfigError(f"--hours: {error}") from error
