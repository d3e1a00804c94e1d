"""The way out as `site check` goes it: where the admission says, by what site.yaml names, and without a name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.check.display import show_way_out
from client.check.way_out import check_way_out
from client.deploy.init import create_site, join
from client.policy.site_config import load_site_config
from client.policy.site_schema import SiteConfig
from common.console import Terminal
from common.errors import TrustError
from tests.client.deploy.centre import Centre
from tests.client.network.https import Server, https
from tests.client.network.proxies import answering

EXAMPLE = Path(__file__).parents[3] / "configs" / "site.example.yaml"


def member_of(server: Server, folder: Path) -> SiteConfig:
    """A site that has joined a consortium at this server."""
    now = datetime.now(UTC)
    centre = Centre.new(folder / "centre", now=now)
    consortium = replace(centre.consortium, hosts=("127.0.0.1",), port=server.port, roots=(server.roots.read_text(),))
    centre, state = replace(centre, consortium=consortium), folder / "state"
    create_site(state, bundle=centre.bundle, confirmed=consortium.digest, name="hospital-1", now=now)
    join(state, centre.answer(state / "request.json", now=now), now=now)
    return replace(load_site_config(EXAMPLE), state_folder=state)


def test_site_that_has_not_joined_has_no_server_to_reach(tmp_path: Path) -> None:
    assert check_way_out(replace(load_site_config(EXAMPLE), state_folder=tmp_path)) is None


def test_member_reaches_its_server_or_hears_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with https(tmp_path / "server") as server:
        site = member_of(server, tmp_path)
        way = check_way_out(site)
        assert way is not None
        assert (way.address, way.proxy, way.problem) == (server.address, None, None)
        show_way_out(way, Terminal(markup=True))
        with answering(b"HTTP/1.1 403 [/x] no\r\n\r\n") as port:
            agent = replace(site.agent, proxy=f"http://127.0.0.1:{port}")
            refused = check_way_out(replace(site, agent=agent))
        assert refused is not None
        show_way_out(refused, Terminal(markup=True))
    said = capsys.readouterr().out
    assert f"fine: the server at {server.address} answers" in said
    assert f"look: agent.proxy=http://127.0.0.1:{port}: the proxy refuses CONNECT" in said
    assert server.paths == ["/health"]


def test_login_that_others_can_read_is_refused_before_anything_is_called(tmp_path: Path) -> None:
    (tmp_path / "login").write_text("ward:sesame")
    (tmp_path / "login").chmod(0o644)
    site = load_site_config(EXAMPLE)
    agent = replace(site.agent, proxy="http://proxy:1", proxy_login=str(tmp_path / "login"))
    with pytest.raises(TrustError, match="chmod 600"):
        check_way_out(replace(site, agent=agent, state_folder=tmp_path))
