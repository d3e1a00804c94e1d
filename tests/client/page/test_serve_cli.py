"""`site serve` and `site search --dicom`, as a hospital types them; the model is a stand-in."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

import client.page.app  # noqa: F401 - before the stand-in takes the place of common.model
from client.policy.site_schema import SiteConfig
from client.search.build import build
from common.model.folder import written_whole
from common.model.relevance import write_relevance
from tests.client.search.conftest import Run, StandInModel, config, run  # noqa: F401 - fixtures
from tests.common.retrieval.test_relevance import curve_with, relevance_with


def test_link_is_printed_and_the_port_is_on_loopback_alone(
    run: Run,  # noqa: F811
    config: Path,  # noqa: F811
    site: SiteConfig,
    model: StandInModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    build(site, model)
    bound: list[tuple[str, int]] = []

    def served(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        bound.extend(each.getsockname() for each in sockets)
        sockets[0].close()
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", served)
    assert run("site", "serve", "--config", config, "--model", config.parent) == 0
    said = capsys.readouterr().out
    link = urlsplit(said.splitlines()[0].rpartition(" ")[2])
    assert bound == [("127.0.0.1", link.port)]
    assert len(link.query) > 40
    assert said.splitlines()[1:] == ["Ended"]


def test_what_cannot_be_served_or_written_is_one_line(
    run: Run,  # noqa: F811
    config: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ("--config", config, "--model", config.parent)
    assert run("site", "serve", *common) == 2
    assert "holds no index" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run("site", "serve", *common, "--port", port) == 2
    assert f"--port {port}: cannot be taken" in capsys.readouterr().err
    search = ("site", "search", *common, "--text", "1", "--alone", "--dicom", config.parent / "out")
    assert run(*search) == 2
    assert "data.adapter=manifest have no DICOM identifiers" in capsys.readouterr().err


def test_handle_is_whole_on_a_narrow_terminal_for_it_is_there_to_be_copied(
    run: Run,  # noqa: F811
    config: Path,  # noqa: F811
    site: SiteConfig,
    model: StandInModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build(site, model)
    monkeypatch.setenv("COLUMNS", "50")
    common = ("--config", config, "--model", config.parent)
    search = ("site", "search", *common, "--text", "report 3", "--alone", "--k", "1")
    assert run(*search, "--json") == 0
    handle = json.loads(capsys.readouterr().out)["hits"][0]["handle"]
    assert run(*search) == 0
    cells = [line.split("│")[2].strip() for line in capsys.readouterr().out.splitlines() if line.count("│") > 3]
    assert handle in "".join(cells)


def test_hits_are_told_how_sure_they_are_where_the_model_tells_it(
    run: Run,  # noqa: F811
    config: Path,  # noqa: F811
    site: SiteConfig,
    model: StandInModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    build(site, model)
    with written_whole(tmp_path / "told") as folder:
        write_relevance(folder, relevance_with(curve_with(gallery="reports")))
    search = ("site", "search", "--config", config, "--text", "report 3", "--gallery", "reports", "--alone")
    assert run(*search, "--model", tmp_path / "told", "--json") == 0
    told = json.loads(capsys.readouterr().out)["hits"]
    assert told[0]["relevance"] == {"word": "at least", "probability": 0.8, "low": 0.7, "high": 0.9}
    rates = [hit["relevance"]["probability"] for hit in told]
    assert rates == sorted(rates, reverse=True)
    assert run(*search, "--model", tmp_path / "told") == 0
    assert "at least 80%" in capsys.readouterr().out
    assert run(*search, "--model", config.parent, "--json") == 0
    assert {hit["relevance"] for hit in json.loads(capsys.readouterr().out)["hits"]} == {None}
    (tmp_path / "told" / "relevance.json").write_bytes(b"{}")
    assert run(*search, "--model", tmp_path / "told") == 4
    assert "is not the file that files.json lists" in capsys.readouterr().err
