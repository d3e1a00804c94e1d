"""`wardround site start`: its option, and what it tells a person."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from client.deploy.agent import Agent
from client.deploy.identity import SiteIdentity, read_identity
from client.deploy.metrics import LedgerReader, SiteMetrics
from client.policy.site_config import load_site_config, proxy_of
from client.policy.site_schema import SiteConfig
from common.errors import ConfigError
from common.service.health import health_served
from common.service.log_format import log_as_json
from common.service.metrics import metrics_served
from common.service.signals import end_by_signal
from common.trust.display import show_expiries
from common.wire.objects import cut_small


def start_command(
    *,
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The hospital's own site.yaml.")],
) -> None:
    """Take part: connect to the consortium's server and answer what this hospital has approved, until told to end.

    Ends within seconds on SIGTERM or Ctrl-C. Logs go to standard error, one JSON object a line. Exits with 2 where
    site.yaml is wrong, another agent runs or a port is taken, 4 where the site's keys or its admission do not hold.
    """
    log_as_json("agent")
    site, identity = _member(config)
    show_expiries([identity.admission.expiry, identity.consortium.expiry], datetime.now(UTC))
    cut_small()
    agent = Agent(identity, config.resolve(), proxy=proxy_of(site))
    ready = f"{identity.name} is ready: {identity.consortium.name} at {identity.consortium.address}"
    metrics = SiteMetrics(agent, identity, spend=LedgerReader(site, identity))
    with (
        end_by_signal() as end,
        metrics_served(metrics, port=site.agent.metrics_port),
        health_served(agent.health, port=site.agent.health_port),
    ):
        agent.run(end, on_ready=lambda: typer.echo(ready))


def _member(path: Path) -> tuple[SiteConfig, SiteIdentity]:
    """What a `site.yaml` says, and the member that it speaks of.

    Raises:
        ConfigError: The file is wrong, or is of another site than its state folder.
        TrustError: The keys or the admission do not hold.
    """
    config = load_site_config(path)
    identity = read_identity(config.state_folder, now=datetime.now(UTC))
    if identity.name != config.site:
        raise ConfigError(
            f"{path}: site={config.site}, but its state_folder is of {identity.name}; correct one of both"
        )
    return config, identity
