"""`wardround site search` and `resolve`: their options, and what they tell a person."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from client.deploy.searcher import Found, Searcher
from client.mediator.lexical import Lexical
from client.mediator.understood import Understood, understood
from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from client.search.asking import NotAnswered
from client.search.desk import local_now
from client.search.index import Gallery
from client.search.query import Query
from client.search.resolving import resolve
from common.console import Terminal
from common.errors import ConfigError
from common.model.relevance import read_relevance
from common.retrieval.relevance import QueryKind, Sure
from common.search.how_sure import HowSure, as_json, in_short
from common.search.question import MOST_ANSWERS

ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="The hospital's own site.yaml.")]


def search_command(
    *,
    config: ConfigFile,
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="The exported model that the index was made with.")],
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Words to look for.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A picture to look for.", show_default=False)
    ] = None,
    gallery: Annotated[Gallery, typer.Option(help="What of the studies is compared.")] = Gallery.IMAGES,
    k: Annotated[int, typer.Option(min=1, max=MOST_ANSWERS, help="How many studies are wanted.")] = 10,
    alone: Annotated[bool, typer.Option("--alone", help="Search this hospital's studies only.")] = False,
    dicom: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write this hospital's hits as DICOM key objects.", show_default=False),
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the studies nearest to words or a picture: this hospital's, and how near those of the others are.

    Words become a plan of what to look for, which is printed: what was understood, what was not, and what is asked
    back. Words and picture stay here; what goes out is their code. Of other hospitals come handles and distances; a handle
    opens at its own hospital alone: wardround site resolve. Exits with 0 also where some hospital did not answer, and
    says so; 2 where the query cannot be used, 4 where model, index or answer do not hold.
    """
    site, query = load_site_config(config), Query(text=text, image=image)
    if dicom is not None:
        _check_dicom(site)
    from common.model import load_model  # here: help and errors of options do without torch

    loaded = load_model(model)
    kind = QueryKind.TEXT if image is None else QueryKind.IMAGE
    how_sure = HowSure.of(read_relevance(model), query=kind, gallery=gallery, bit_width=loaded.bit_width)
    made = None if query.text is None else understood(query.text, Lexical())
    spoken = query if made is None else Query(text=made.spoken, image=None)
    searcher, code_P = Searcher(site, loaded), spoken.code_P(loaded)
    own = searcher.own(code_P, gallery=gallery, k=k)
    try:
        found = Found(own=own, others=None if alone else searcher.others(code_P, gallery=gallery, k=k))
    except NotAnswered as error:
        found = Found(own=own, trouble=str(error))
    if dicom is not None:
        _write_key_objects(searcher, found, dicom)
    if as_object:
        typer.echo(json.dumps(_as_json(site, found, how_sure, made), indent=2))
    else:
        _show(site, found, how_sure, made)


def resolve_command(
    handle: Annotated[str, typer.Argument(metavar="HANDLE", help="As another hospital was told it.")],
    *,
    config: ConfigFile,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is opened; it goes into this hospital's log.")],
) -> None:
    """Find the study of this hospital that another one was told of by a handle.

    Exits with 2 where the handle is none of this hospital or too old, 4 where the index does not hold.
    """
    site = load_site_config(config)
    typer.echo(resolve(site, handle, reason=reason, now=local_now()))


def _check_dicom(site: SiteConfig) -> None:
    """Return where the hospital's studies have what DICOM points by."""
    if site.data.adapter != "dicom":
        raise ConfigError(
            f"--dicom: studies of data.adapter={site.data.adapter} have no DICOM identifiers; only those of dicom do"
        )


def _write_key_objects(searcher: Searcher, found: Found, folder: Path) -> None:
    """Write the own hits as DICOM points to them; said on stderr, for stdout may hold one object."""
    from client.data.dicom import DicomAdapter
    from client.data.key_objects import write_key_objects  # here: few searches write DICOM

    data = searcher.site.data
    adapter = DicomAdapter(data.root, data.allow_burned_in, data.site_column)
    written = write_key_objects(adapter, [searcher.index.study_of(hit.handle) for hit in found.own], folder)
    typer.echo(f"DICOM: {len(written)} key object selections, one for each study found, in {folder}", err=True)


def _as_json(site: SiteConfig, found: Found, how_sure: HowSure, made: Understood | None) -> dict[str, Any]:
    """As `wardround search` prints it."""
    others = found.others
    own = [
        ({"site": site.site, "handle": hit.handle, "distance": hit.distance}, how_sure.of_own(hit.distance))
        for hit in found.own
    ]
    told = [(asdict(hit), how_sure.of_other(hit.distance)) for hit in (others.hits if others else ())]
    hits = [{**hit, "relevance": as_json(sure)} for hit, sure in (*own, *told)]
    answered = [site.site, *(others.answered if others else ())]
    silent = [asdict(one) for one in others.silent] if others else []
    return {
        "hits": sorted(hits, key=lambda hit: hit["distance"]),
        "partial": bool(silent) or found.trouble is not None,
        "sites_asked": sorted([*answered, *(one["site"] for one in silent)]),
        "sites_answered": sorted(answered),
        "silent": silent,
        "trouble": found.trouble,
        "understood": None if made is None else made.as_json(),
    }


def _show(site: SiteConfig, found: Found, how_sure: HowSure, made: Understood | None) -> None:
    console, table, others = Terminal(), Table("Hospital", "Study", "Bits apart"), found.others
    if how_sure.tells:
        table.add_column("Relevant with")
    for hit in found.own:
        table.add_row(site.site, hit.handle, str(hit.distance), *_cell(how_sure, how_sure.of_own(hit.distance)))
    for other in others.hits if others else ():
        distance = f"at most {other.distance}"
        table.add_row(other.site, other.handle, distance, *_cell(how_sure, how_sure.of_other(other.distance)))
    for sentence in made.sentences if made is not None else ():
        console.print(sentence, soft_wrap=True)
    console.print(table)
    if how_sure.note:
        console.print(how_sure.note, soft_wrap=True)
    if found.trouble is not None:
        console.print(f"The other hospitals were not asked: {found.trouble}", soft_wrap=True)
    if others is not None:
        for silent in others.silent:
            console.print(f"Partial: {silent.site} did not answer ({silent.reason}).", soft_wrap=True)
        if others.cut:
            console.print(f"More studies are as far as the last one at {', '.join(others.cut)}.", soft_wrap=True)


def _cell(how_sure: HowSure, sure: Sure | None) -> list[str]:
    """The cell of how sure a hit is; none where the table has no column for it."""
    return [in_short(sure)] if how_sure.tells else []
