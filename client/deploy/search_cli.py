"""`wardround site search`: its options, and what it tells a person."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from client.deploy.searcher import Found, Searcher
from client.mediator.of_site import mediator_of
from client.mediator.own_sure import OwnSure
from client.mediator.plan import Plan
from client.mediator.plan_relevance import read_plan_relevance
from client.mediator.query_log import QueryLog, ShownHit, record_of
from client.mediator.rerank import MOST_JUDGED, Held, has_rules, held_against, num_looked_at
from client.mediator.understood import Understood, understood
from client.mediator.validate import Verdict
from client.policy.site_config import load_site_config, study_folder
from client.policy.site_schema import SiteConfig
from client.search.asking import NotAnswered
from client.search.index import Gallery, Hit
from client.search.query import Query
from common.console import Terminal
from common.errors import ConfigError, PolicyRefusal
from common.model.relevance import read_relevance
from common.retrieval.relevance import QueryKind
from common.search.how_sure import HowSure, as_json, in_short
from common.search.question import MOST_ANSWERS
from common.types import Study

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
    back. Words and picture stay here; what goes out is their code. Of other hospitals come handles and distances; a
    handle opens at its own hospital alone: wardround site resolve. Exits with 0 also where some hospital did not
    answer, and says so; 2 where the query cannot be used or a question has to be answered first, 3 where it names a
    patient, 4 where model, index or answer do not hold.
    """
    site, query = load_site_config(config), Query(text=text, image=image)
    if dicom is not None:
        _check_dicom(site)
    from common.model import load_model  # here: help and errors of options do without torch

    loaded = load_model(model)
    kind = QueryKind.TEXT if image is None else QueryKind.IMAGE
    bit_width = loaded.bit_width
    how_sure = HowSure.of(read_relevance(model), query=kind, gallery=gallery, bit_width=bit_width)
    by_plan = read_plan_relevance(site.mediator.relevance, model=loaded.digest)
    began = time.process_time()
    made = None if query.text is None else understood(query.text, mediator_of(site.mediator))
    if made is not None and (made.refused or made.unanswered):
        nothing = OwnSure(held=Held(hits=()), how_sure=how_sure)
        _note(site, made, nothing, model=loaded.digest, alone=alone, cpu_seconds=time.process_time() - began)
        raise PolicyRefusal(made.refused) if made.refused else ConfigError(" ".join(made.sentences))
    spoken = query if made is None else Query(text=made.spoken, image=None)
    searcher, code_P = Searcher(site, loaded), spoken.code_P(loaded)
    plan = None if made is None else made.plan
    held = _held(searcher, plan, searcher.own(code_P, gallery=gallery, k=num_looked_at(plan, k)), k=k)
    own = OwnSure.of(held, how_sure, by_plan, gallery=gallery, bit_width=bit_width)
    try:
        found = Found(own=held.hits, others=None if alone else searcher.others(code_P, gallery=gallery, k=k))
    except NotAnswered as error:
        found = Found(own=held.hits, trouble=str(error))
    if made is not None:
        _note(site, made, own, model=loaded.digest, alone=alone, cpu_seconds=time.process_time() - began)
    if dicom is not None:
        _write_key_objects(searcher, found, dicom)
    if as_object:
        understanding = None if made is None else made.as_json()
        typer.echo(json.dumps({**_as_json(site, found, how_sure, own), "understood": understanding}, indent=2))
    else:
        _show(site, found, how_sure, own, made)


def _held(searcher: Searcher, plan: Plan | None, hits: tuple[Hit, ...], *, k: int) -> Held:
    """The own hits, held against the plan; their reports are read only where it has a rule."""
    if plan is None or not has_rules(plan):
        return Held(hits=hits)
    index = searcher.index
    names = {index.study_of(hit.handle): hit.handle for hit in hits[:MOST_JUDGED]}
    read = study_folder(searcher.site.data).named(frozenset(names))
    records = {names[item.record.study_id]: item.record for item in read if isinstance(item, Study)}
    return held_against(plan, hits, records, k=k, bit_width=index.head.bit_width)


def _note(site: SiteConfig, made: Understood, own: OwnSure, *, model: str, alone: bool, cpu_seconds: float) -> None:
    """Write down what was planned and is about to be shown."""
    shown = [
        ShownHit(
            handle=hit.handle,
            distance=hit.distance,
            judged=own.held.judged.get(hit.handle, ()),
            told=own.of_hit(hit),
        )
        for hit in own.held.hits
    ]
    record = record_of(
        made,
        shown,
        model=model,
        user="",
        alone=alone,
        cpu_seconds=cpu_seconds,
        keep_words=site.mediator.keep_words,
        plan_relevance=own.source,
    )
    with QueryLog(site.state_folder, writer="command", owner=site.site) as log:
        log.note(record)


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


def _as_json(site: SiteConfig, found: Found, how_sure: HowSure, own: OwnSure) -> dict[str, Any]:
    """As `wardround search` prints it."""
    others, judged = found.others, own.held.judged
    here = [
        {
            "site": site.site,
            "handle": hit.handle,
            "distance": hit.distance,
            "rules": [asdict(one) for one in judged.get(hit.handle, ())],
            **own.of_hit(hit).as_json(),
        }
        for hit in found.own
    ]
    told = [
        {**asdict(hit), "relevance": as_json(how_sure.of_other(hit.distance))}
        for hit in (others.hits if others else ())
    ]
    hits = [*here, *told]
    answered = [site.site, *(others.answered if others else ())]
    silent = [asdict(one) for one in others.silent] if others else []
    return {
        "hits": hits if judged else sorted(hits, key=lambda hit: hit["distance"]),
        "partial": bool(silent) or found.trouble is not None,
        "sites_asked": sorted([*answered, *(one["site"] for one in silent)]),
        "sites_answered": sorted(answered),
        "silent": silent,
        "trouble": found.trouble,
    }


def _show(site: SiteConfig, found: Found, how_sure: HowSure, own: OwnSure, made: Understood | None) -> None:
    console, others = Terminal(), found.others
    for sentence in made.sentences if made is not None else ():
        console.print(sentence, soft_wrap=True)
    console.print(_table(site, found, how_sure, own))
    if note := own.note or how_sure.note:
        console.print(note, soft_wrap=True)
    if own.note and how_sure.note and others is not None:
        console.print(f"Of other hospitals: {how_sure.note}", soft_wrap=True)
    if found.trouble is not None:
        console.print(f"The other hospitals were not asked: {found.trouble}", soft_wrap=True)
    if others is not None:
        for silent in others.silent:
            console.print(f"Partial: {silent.site} did not answer ({silent.reason}).", soft_wrap=True)
        if others.cut:
            console.print(f"More studies are as far as the last one at {', '.join(others.cut)}.", soft_wrap=True)


def _table(site: SiteConfig, found: Found, how_sure: HowSure, own: OwnSure) -> Table:
    # A handle is there to be copied, so that it is folded and never cut.
    table = Table("Hospital", Column("Study", overflow="fold"), "Bits apart")
    tells, tells_set = how_sure.tells or own.how_sure.tells, own.is_by_plan and own.how_sure.tells
    columns = {"Relevant with": tells, "90% set": tells_set, "Held against the plan": bool(own.held.judged)}
    for name in (name for name, is_there in columns.items() if is_there):
        table.add_column(name)
    for hit in found.own:
        told, judged = own.of_hit(hit), own.held.judged.get(hit.handle, ())
        cells = {
            "Relevant with": in_short(told.sure),
            "90% set": {True: "yes", False: "no", None: "cannot tell"}[told.in_set],
            "Held against the plan": "; ".join(one.words for one in judged if one.verdict is not Verdict.SILENT),
        }
        table.add_row(site.site, hit.handle, str(hit.distance), *(cells[name] for name in cells if columns[name]))
    for other in found.others.hits if found.others else ():
        cell = [in_short(how_sure.of_other(other.distance))] if tells else []
        table.add_row(other.site, other.handle, f"at most {other.distance}", *cell)
    return table
