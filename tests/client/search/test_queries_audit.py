"""`audit queries` and what `site search` records, as a hospital types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from client.mediator.plan_relevance import PlanRelevance, write_plan_relevance
from client.mediator.rules_digest import rules_digest
from client.mediator.validate import NOT_NAMED
from client.policy.site_schema import SiteConfig
from common.evidence.log_files import LOG_FILE
from common.retrieval.relevance import QueryKind
from common.trust.keys import SigningKey
from tests.client.mediator.test_query_log import recorded
from tests.client.search.conftest import Run, StandInModel
from tests.common.retrieval.test_relevance import curve_with, relevance_with


def test_command_reads_checks_and_names_a_tampered_entry(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = recorded(tmp_path / "of north")
    assert run("audit", "queries", state, "--json") == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [one["holds"] for one in checks] == [True, True]
    assert {"name", "holds", "lower_bound", "claimed_epsilon", "seconds"} <= checks[0].keys()
    other = tmp_path / "other.pem"
    other.write_bytes(SigningKey.create(tmp_path / "key.pem").public.pem)
    assert run("audit", "queries", state, "--public-key", other) == 4
    log = state / "queries" / "page" / LOG_FILE
    log.write_bytes(log.read_bytes().replace(b'"shown":1', b'"shown":2', 1))
    capsys.readouterr()
    assert run("audit", "queries", state) == 4
    assert "entry 2" in capsys.readouterr().err
    assert run("audit", "queries", tmp_path) == 2


def test_page_and_command_write_their_own_log(
    run: Run,
    config: Path,
    site: SiteConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("site", "index", "--config", config, "--model", tmp_path) == 0
    capsys.readouterr()
    search = ("site", "search", "--config", config, "--model", tmp_path, "--alone", "--text")
    assert run(*search, "pneumonia, no effusion 3", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [part["words"] for part in said["understood"]["parts"]] == ["pneumonia", "Effusion"]
    assert {one["verdict"] for hit in said["hits"] for one in hit["rules"]} == {"silent"}
    assert run(*search, "pneumonia of MRN-1234567") == 3
    assert run(*search, "no MS") == 2
    assert "multiple sclerosis or Mitral stenosis. Say which in full. Nothing was searched" in capsys.readouterr().err
    assert run("audit", "queries", site.state_folder) == 0
    assert "3 queries" in capsys.readouterr().out


def test_command_tells_a_hit_by_its_rank_and_refuses_the_file_of_another_model(
    run: Run, config: Path, model: StandInModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    config.write_text(yaml.safe_dump({**content, "mediator": {"relevance": "plans.json"}}), encoding="utf-8")
    assert run("site", "index", "--config", config, "--model", tmp_path) == 0
    search = ("site", "search", "--config", config, "--model", tmp_path, "--alone", "--k", "3", "--text", "pneumonia 3")
    assert run(*search) == 2
    assert "mediator.relevance" in capsys.readouterr().err
    curve = curve_with(query=QueryKind.PLAN, gallery="images", bit_width=model.bit_width)
    found = PlanRelevance(rules=rules_digest(), relevance=relevance_with(curve, model=model.digest))
    write_plan_relevance(config.parent / "plans.json", found)
    assert run(*search, "--json") == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    silent = round(NOT_NAMED * model.bit_width)
    assert [hit["rank"] for hit in hits] == [hit["distance"] + silent for hit in hits]
    assert [hit["relevance"]["probability"] for hit in hits] == [curve.of(hit["rank"]).probability for hit in hits]  # type: ignore[union-attr]
    assert [hit["in_90_set"] for hit in hits] == [hit["rank"] <= 38 for hit in hits]
    assert run(*search) == 0
    assert "Relevant by the plan: as 1,150 hits tell" in capsys.readouterr().out
    write_plan_relevance(config.parent / "plans.json", replace(found, relevance=relevance_with(curve, model="c" * 64)))
    assert run(*search) == 4
    assert "is of model cccccccc" in capsys.readouterr().err
