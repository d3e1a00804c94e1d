"""`wardround site search` and `resolve`: their options, and what they tell a person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from client.deploy.identity import SiteIdentity, read_identity
from client.network.way_out import WayOut
from client.policy.site_config import load_site_config, proxy_of
from client.policy.site_schema import SiteConfig
from client.search.asking import NotAnswered, Server, ask
from client.search.desk import local_now
from client.search.generation import SEARCH_FOLDER
from client.search.index import Gallery, Hit, SearchIndex
from client.search.query import Query
from client.search.resolving import resolve
from client.state_folder import KEY_FILE
from common.console import Terminal
from common.errors import ConfigError
from common.search.answer import Answer
from common.search.question import MOST_ANSWERS, new_question
from common.trust.keys import SigningKey

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
    as_object: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the studies nearest to words or a picture: this hospital's, and how near those of the others are.

    Words and picture stay here; what goes out is their code. Of other hospitals come handles and distances; a handle
    opens at its own hospital alone: wardround site resolve. Exits with 0 also where some hospital did not answer, and
    says so; 2 where the query cannot be used, 4 where model, index or answer do not hold.
    """
    site, query = load_site_config(config), Query(text=text, image=image)
    from common.model import load_model  # here: help and errors of options do without torch

    loaded = load_model(model)
    code_P, key = query.code_P(loaded), SigningKey.load(site.state_folder / KEY_FILE)
    index = SearchIndex.open(
        site.state_folder / SEARCH_FOLDER, key=key.public, model=loaded.digest, bit_width=loaded.bit_width
    )
    own = index.search(code_P, gallery=gallery, k=k)
    others: Answer | None = None
    trouble: str | None = None
    if not alone:
        question = new_question(code_P, asker=site.site, model=loaded.digest, gallery=gallery, most=k)
        try:
            others = ask(question, server_of(site), key=key)
        except NotAnswered as error:
            trouble = str(error)
    if as_object:
        typer.echo(json.dumps(_as_json(site, own, others, trouble), indent=2))
    else:
        _show(site, own, others, trouble)


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


def server_of(site: SiteConfig) -> Server:
    """Where this hospital brings its questions.

    Raises:
        ConfigError: site.yaml names no port for it.
        TrustError: The keys or the admission do not hold.
    """
    if not site.search.server_port:
        raise ConfigError(
            "search.server_port: is not set, so that other hospitals cannot be asked; ask the coordinating centre for "
            "its search_port, or search with --alone"
        )
    identity: SiteIdentity = read_identity(site.state_folder, now=datetime.now(UTC))
    host = identity.consortium.address.rpartition(":")[0]
    way = WayOut(address=f"{host}:{site.search.server_port}", roots=identity.roots_file, proxy=proxy_of(site))
    return Server(way=way, key=identity.consortium.public_key)


def _as_json(site: SiteConfig, own: Sequence[Hit], others: Answer | None, trouble: str | None) -> dict[str, Any]:
    """As `wardround search` prints it."""
    hits = [{"site": site.site, "handle": hit.handle, "distance": hit.distance} for hit in own]
    hits += [asdict(hit) for hit in (others.hits if others else ())]
    answered = [site.site, *(others.answered if others else ())]
    silent = [asdict(one) for one in others.silent] if others else []
    return {
        "hits": sorted(hits, key=lambda hit: hit["distance"]),
        "partial": bool(silent) or trouble is not None,
        "sites_asked": sorted([*answered, *(one["site"] for one in silent)]),
        "sites_answered": sorted(answered),
        "silent": silent,
        "trouble": trouble,
    }


def _show(site: SiteConfig, own: Sequence[Hit], others: Answer | None, trouble: str | None) -> None:
    console, table = Terminal(), Table("Hospital", "Study", "Bits apart")
    for hit in own:
        table.add_row(site.site, hit.handle, str(hit.distance))
    for other in others.hits if others else ():
        table.add_row(other.site, other.handle, f"at most {other.distance}")
    console.print(table)
    if trouble is not None:
        console.print(f"The other hospitals were not asked: {trouble}", soft_wrap=True)
    if others is not None:
        for silent in others.silent:
            console.print(f"Partial: {silent.site} did not answer ({silent.reason}).", soft_wrap=True)
        if others.cut:
            console.print(f"More studies are as far as the last one at {', '.join(others.cut)}.", soft_wrap=True)
