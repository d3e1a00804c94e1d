"""A hospital that gets out through its proxy alone: its firewall refuses everything else."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import httpx
import pytest
from flwr.app import ConfigRecord, RecordDict

from client.network.proxy import Proxy
from server.deploy.config import read_consortium_config
from simulations.cohorts.write import write_cohort
from simulations.deployment.hand_out import Source, shares_of
from simulations.deployment.loopback import Loopback
from tests.client.network.proxies import OUTWARD, needs_tinyproxy, tinyproxy
from tests.client.network.test_proxy import login_file
from tests.e2e.deployed import PLAN, RUN
from tests.e2e.lines import Line
from tests.e2e.on_a_line import agent_of, app_of, reached_at, serving

pytestmark = needs_tinyproxy

WORD = "open-sesame"


def test_agent_behind_a_firewall_answers_through_the_proxy_and_its_password_lies_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment names another proxy, which nobody follows, not even to the agent's own processes."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")  # as the command sets it, for its own process
    login = login_file(tmp_path, f"ward:{WORD}".encode())
    with (
        serving(tmp_path) as (link, identity),
        Line(link.installation.config.port, only_from=OUTWARD).carrying() as firewall,
        tinyproxy(tmp_path, to_port=firewall.port, login=f"ward {WORD}") as real,
    ):
        member = reached_at(identity, firewall.port)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://{member.consortium.address}/health", verify=_believing(member.roots_file))
        refused = firewall.num_refused
        assert refused > 0
        with agent_of(member, proxy=Proxy(url=real.url, login_file=login)), app_of(link, tmp_path) as app:
            question = RecordDict({"order": ConfigRecord({"do": "echo"})})
            assert app.ask(link.control.nodes()[0].id, question).has_content()
        assert firewall.num_refused == refused
        assert real.num_connects(member.consortium.address) >= 1
    state = identity.keys.folder
    held = [path for path in state.rglob("*") if path.is_file() and WORD.encode() in path.read_bytes()]
    assert held == []


def _believing(roots: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(roots))


@pytest.mark.slow
def test_round_of_a_deployment_counts_the_hospital_behind_a_proxy(short_folder: Path) -> None:
    behind, straight = PLAN.site_names[:2]
    loopback = Loopback(short_folder, (behind, straight), environment={"OMP_NUM_THREADS": "1"})
    shares_of(Source(root=write_cohort(PLAN, short_folder / "cohort"))).hand_out(short_folder)
    loopback.provision()
    port = read_consortium_config(loopback.consortium_file).port
    with tinyproxy(short_folder, to_port=port) as real:
        with loopback.site_file(behind).open("a", encoding="utf-8") as file:
            file.write(f"agent:\n  proxy: {real.url}\n")
        loopback.make_bundle(RUN, "privacy.noise=own", "federation.rounds=1")
        loopback.approve()
        loopback.start_server()
        try:
            checked = loopback.command("site", "check", "--config", loopback.site_file(behind))
            tried = real.num_connects(f"127.0.0.1:{port}")
            loopback.start_sites()
            said = loopback.command("server", "run", loopback.bundle, "--config", loopback.consortium_file, "--json")
        finally:
            loopback.stop()
        assert f"the server at 127.0.0.1:{port} answers through {real.url}" in checked
        assert real.num_connects(f"127.0.0.1:{port}") > tried == 1
    summary = json.loads(said)
    assert {name: site["rounds_joined"] for name, site in summary["sites"].items()} == {behind: 1, straight: 1}
