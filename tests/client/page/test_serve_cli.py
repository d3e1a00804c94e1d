"""`site serve` and `site search --dicom`, as a hospital types them; the model is a stand-in."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
import uvicorn

import wardround
from client.policy.site_schema import SiteConfig
from client.search.build import build
from tests.client.search.conftest import StandInModel


def run(monkeypatch: pytest.MonkeyPatch, model: StandInModel, *arguments: str | Path) -> int:
    """Run the command line in this process; its exit code."""
    stand_in = ModuleType("common.model")
    stand_in.load_model = lambda _: model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "common.model", stand_in)
    monkeypatch.setattr(sys, "argv", ["wardround", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        wardround.main()
    return int(ended.value.code or 0)


def test_link_is_printed_and_the_port_is_on_loopback_alone(
    site: SiteConfig, model: StandInModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build(site, model)
    bound: list[tuple[str, int]] = []

    def served(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        bound.extend(each.getsockname() for each in sockets)
        sockets[0].close()
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", served)
    config = site.state_folder.parent / "site.yaml"
    assert run(monkeypatch, model, "site", "serve", "--config", config, "--model", config.parent) == 0
    said = capsys.readouterr().out
    link = urlsplit(said.splitlines()[0].rpartition(" ")[2])
    assert bound == [("127.0.0.1", link.port)]
    assert len(link.query) > 40
    assert said.splitlines()[1:] == ["Ended"]


def test_what_cannot_be_served_or_written_is_one_line(
    site: SiteConfig, model: StandInModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = site.state_folder.parent / "site.yaml"
    common = ("--config", config, "--model", config.parent)
    assert run(monkeypatch, model, "site", "serve", *common) == 2
    assert "holds no index" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(monkeypatch, model, "site", "serve", *common, "--port", port) == 2
    assert f"--port {port}: cannot be taken" in capsys.readouterr().err
    search = ("site", "search", *common, "--text", "1", "--alone", "--dicom", config.parent / "out")
    assert run(monkeypatch, model, *search) == 2
    assert "data.adapter=manifest have no DICOM identifiers" in capsys.readouterr().err
