"""`wardround site serve`: the hospital's search as a page on this machine, until it is ended."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from client.page.link import ByLink
from client.page.portal import ThroughPortal
from client.policy.site_config import load_site_config, study_folder
from client.policy.site_schema import SiteConfig
from common.errors import ConfigError
from common.service.ports import LOOPBACK

_MOST_OPEN = 32
_LONGEST_HEAD_BYTES = 16 << 10
_GRACE_SECONDS = 3


def serve_command(
    *,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The hospital's own site.yaml.")],
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="The exported model that the index was made with.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine; 0 takes a free one.")] = 0,
) -> None:
    """Serve the hospital's search as a page on this machine: words or a picture in, similar studies out.

    The page answers on loopback alone, to the one browser that opens the link which is printed, or where site.yaml
    names the hospital's reverse proxy (page.address) to whom that lets in. It shows studies of this hospital with
    picture and report; of others it knows handles and distances. It ends with Ctrl-C.

    Exits with 2 where the port is taken or there is no index, 4 where model, index or the proxy's secret do not hold.
    """
    site = load_site_config(config)
    if site.page.address and not port:
        raise ConfigError("--port: has no value; give the one at which the hospital's proxy asks")
    with _listening(port) as listening:
        _serve(site, model, listening)


def _serve(site: SiteConfig, folder: Path, listening: socket.socket) -> None:
    """Open model and index once, print the link, and answer until it is ended."""
    from client.deploy.searcher import Searcher  # here: help and errors of options do without torch
    from client.mediator.of_site import mediator_of
    from client.mediator.plan_relevance import read_plan_relevance
    from client.mediator.query_log import QueryLog
    from client.page.about import read_about
    from client.page.app import Page
    from client.page.asked_list import AskedList
    from client.search.traits import names_in
    from common.model import load_model
    from common.model.saliency import saliency

    way = _way_in(site, listening)
    model = load_model(folder)
    by_plan = read_plan_relevance(site.mediator.relevance, model=model.digest)
    page = Page(
        searcher=Searcher(site, model),
        model=model,
        saliency_of=lambda picture, code_P: saliency(model, picture, code_P),
        asked_list=AskedList(site.state_folder),
        query_log=QueryLog(site.state_folder, writer="page", owner=site.site),
        mediator=mediator_of(site.mediator),
        by_plan=by_plan,
        about=read_about(folder, model, by_plan=by_plan),
        names=names_in(study_folder(site.data).records()),
    )
    if isinstance(way, ByLink):
        typer.echo(f"Open, once, in your browser: http://{LOOPBACK}:{listening.getsockname()[1]}{way.path}")
    else:
        typer.echo(f"The page is at {site.page.address}, for whom the hospital's proxy lets in")
    server = uvicorn.Server(
        uvicorn.Config(
            page.application(way),
            lifespan="off",
            access_log=False,
            log_config=None,
            http="h11",
            ws="none",
            h11_max_incomplete_event_size=_LONGEST_HEAD_BYTES,
            limit_concurrency=_MOST_OPEN,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        typer.echo("Ended")


def _way_in(site: SiteConfig, listening: socket.socket) -> ByLink | ThroughPortal:
    """How people come in.

    Raises:
        ConfigError: The proxy's secret is none.
        TrustError: It cannot be read, or others could read it too.
    """
    return ThroughPortal(site.page) if site.page.address else ByLink(port=listening.getsockname()[1])


def _listening(port: int) -> socket.socket:
    """The port, taken before anything slow is done.

    Raises:
        ConfigError: Another program has it.
    """
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise ConfigError(f"--port {port}: cannot be taken ({error.strerror}); give another, or 0 for any") from error
