"""`wardround search`: a search over all hospitals of a simulation, on one machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Column, Table

from client.search.desk import local_now
from client.search.index import Gallery
from client.search.query import Query
from common.console import Terminal
from common.errors import ConfigError
from common.hashing.certificate import Certificate
from common.hashing.codes import Codes
from common.model.relevance import read_relevance
from common.retrieval.relevance import QueryKind, Sure
from common.search.answer import Answer
from common.search.how_sure import HowSure, in_short
from common.search.question import MOST_ANSWERS, new_question
from common.types import UnusableRow
from simulations.search.certified import certificate_of, surely_among_first
from simulations.search.hospitals import ASKER, Hospitals, ask_all
from simulations.search.opened_run import OpenedRun, open_run

LONGEST_TEXT = 10_000
"""Characters; the model reads the first `encoder.max_tokens` tokens of them."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A study that was found.

    Attributes:
        site: Its hospital.
        handle: As the hospital told it.
        distance: In bits.
        study: Its identifier, which a simulation may show.
        findings: Of the study, where the data label them.
        certified: Whether it surely stays among the first k; None where that was not asked.
        relevance: How sure it is; None where nobody can tell.
    """

    site: str
    handle: str
    distance: int
    study: str
    findings: tuple[str, ...]
    certified: bool | None
    relevance: Sure | None


def search_command(
    *,
    run: Annotated[Path, typer.Option(metavar="RUN", help="Folder of a simulation's run that has ended.")],
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Words to look for.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A picture to look for.", show_default=False)
    ] = None,
    gallery: Annotated[Gallery, typer.Option(help="What of the studies is compared.")] = Gallery.IMAGES,
    k: Annotated[int, typer.Option(min=1, max=MOST_ANSWERS, help="How many studies are wanted.")] = 10,
    certified: Annotated[
        bool, typer.Option("--certified", help="Tell which hits no small change of the picture can undo.")
    ] = False,
    as_object: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the studies nearest to words or a picture, over all hospitals of a simulation.

    Each hospital answers a code from its index as a deployed one does, but that its limits are open and the studies
    behind its handles are shown. Model and indexes are made the first time and kept in RUN/search, with identifiers of
    studies in them. Ties with the last hit are kept.

    Exits with 0 also where some hospital did not answer, and says so,
    1 where the run has not ended or has failed,
    2 where RUN is not the folder of one simulation, or the query cannot be used,
    4 where something that was kept is damaged.
    """
    query = _checked(Query(text=text, image=image), certified=certified)
    opened = open_run(run)
    certificate: Certificate | None = None
    try:
        with _telling() as tell:
            hospitals = Hospitals.of(opened, progress=tell)
        if certified and image is not None:
            certificate = certificate_of(image, opened.model, opened.ended.config, spread=hospitals.spread)
            code_P: Codes = np.packbits(certificate.code)
        else:
            code_P = query.code_P(opened.model)
    except UnusableRow as error:
        raise ConfigError(f"--image {image}: {error}") from error
    question = new_question(code_P, asker=ASKER, model=opened.model.digest, gallery=gallery, most=k)
    answer = ask_all(question, hospitals.sites)
    kind = QueryKind.TEXT if image is None else QueryKind.IMAGE
    how_sure = HowSure.of(
        read_relevance(opened.model_folder), query=kind, gallery=gallery, bit_width=opened.model.bit_width
    )
    found = _opened(answer, hospitals, certificate, how_sure, gallery=gallery, k=k)
    if as_object:
        typer.echo(json.dumps(_as_json(opened, answer, found), indent=2))
    else:
        _show(opened, answer, found, how_sure)


def _checked(query: Query, *, certified: bool) -> Query:
    """The query, where it can be one.

    Raises:
        ConfigError: It cannot.
    """
    if query.text is not None and not query.text.strip():
        raise ConfigError("--text: is empty; give words to look for")
    if query.text is not None and len(query.text) > LONGEST_TEXT:
        raise ConfigError(f"--text: has {len(query.text):,} characters; give at most {LONGEST_TEXT:,}")
    if query.image is not None and not query.image.is_file():
        raise ConfigError(f"--image {query.image}: is no file; name a picture")
    if certified and query.image is None:
        raise ConfigError("--certified: speaks of changes of a picture; give --image, not --text")
    return query


def _opened(
    answer: Answer,
    hospitals: Hospitals,
    certificate: Certificate | None,
    how_sure: HowSure,
    *,
    gallery: Gallery,
    k: int,
) -> list[Found]:
    """The studies behind the handles."""
    sites = {site.name: site for site in hospitals.sites if site.name in answer.answered}
    indexes, today = {name: site.index() for name, site in sites.items()}, local_now().date()
    own = [(hit.site, sites[hit.site].handle_behind(hit.handle, today=today)) for hit in answer.hits]
    sure: list[bool | None] = [None] * len(own)
    if certificate is not None:
        sure = list(surely_among_first(k, certificate, own, indexes, gallery=gallery))
    studies = [indexes[site].study_of(handle) for site, handle in own]
    return [
        Found(
            site=hit.site,
            handle=hit.handle,
            distance=hit.distance,
            study=study,
            findings=tuple(sites[hit.site].findings.get(study, ())),
            certified=surely,
            relevance=how_sure.of_own(hit.distance),  # a simulation's hospitals round nothing
        )
        for hit, study, surely in zip(answer.hits, studies, sure, strict=True)
    ]


def _as_json(opened: OpenedRun, answer: Answer, found: list[Found]) -> dict[str, Any]:
    silent = [asdict(one) for one in answer.silent]
    return {
        "hits": [asdict(one) for one in found],
        "partial": answer.partial,
        "sites_asked": sorted([*answer.answered, *(one["site"] for one in silent)]),
        "sites_answered": list(answer.answered),
        "silent": silent,
        "cut": list(answer.cut),
        "published": opened.ended.published,
        "model": opened.model.digest,
    }


def _show(opened: OpenedRun, answer: Answer, found: list[Found], how_sure: HowSure) -> None:
    asked_certified = any(one.certified is not None for one in found)
    console, table = Terminal(), Table("Hospital", Column("Study", overflow="fold"), "Bits apart", "Findings")
    if asked_certified:
        table.add_column("Certified")
    if how_sure.tells:
        table.add_column("Relevant with")
    for one in found:
        surely = ["yes" if one.certified else "no"] if asked_certified else []
        surely += [in_short(one.relevance)] if how_sure.tells else []
        table.add_row(one.site, one.study, str(one.distance), ", ".join(one.findings) or "-", *surely)
    console.print(table)
    if how_sure.note:
        console.print(how_sure.note, soft_wrap=True)
    for silent in answer.silent:
        console.print(f"Partial: {silent.site} did not answer ({silent.reason}).", soft_wrap=True)
    if answer.cut:
        console.print(f"More studies are as far as the last one at {', '.join(answer.cut)}.", soft_wrap=True)
    if opened.stands_for_start:
        console.print("The model is the public start, which the run stands for: training was not published.")


@contextmanager
def _telling() -> Iterator[Any]:
    """Show on a terminal how many studies were read; elsewhere nothing."""
    console = Terminal(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("Reading the run's studies, the first time alone") as status:
        yield lambda number: status.update(f"Reading the run's studies, the first time alone: {number:,}")
