"""The record of a hospital's own queries: complete, without words, and nothing of it can be changed unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.mediator.mediator import Mediator
from client.mediator.query_log import RECORDS_FILE, WATTS, QueryLog, ShownHit, check_records, record_of
from client.mediator.understood import understood
from client.mediator.validate import Judged, Verdict
from client.policy.site_schema import SiteConfig
from client.state_folder import KEY_FILE
from common.errors import TrustError
from common.evidence.log_files import LOG_FILE
from common.trust.keys import SigningKey
from tests.client.search.conftest import Run, config, model, run, site  # noqa: F401 - fixtures

QUERY = "pneumonia xylophone, no effusion"


def record(query: str = QUERY) -> dict[str, object]:
    judged = (Judged(verdict=Verdict.FITS, words="pneumonia: named"),)
    shown = [ShownHit(handle="h1", distance=12, judged=judged)]
    made = understood(query, Mediator())
    return record_of(made, shown, model="a" * 64, user="anna", alone=True, cpu_seconds=0.5)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    SigningKey.create(folder / KEY_FILE)
    with QueryLog(folder, writer="page", owner="north") as log:
        for query in (QUERY, "MS", "pneumonia"):
            log.note(record(query))
    return folder


def test_record_holds_plan_checks_reasons_and_energy_and_no_word_of_the_query() -> None:
    kept = record()
    assert [one["concept"]["meaning"] for one in kept["plan"]["wanted"]] == ["pneumonia"]  # type: ignore[index]
    assert kept["shown"] == [{"handle": "h1", "distance": 12, "reasons": [["fits", "pneumonia: named"]]}]
    assert (kept["proposer"], kept["encoder"], kept["user"]) == ("lexical", "a" * 64, "anna")
    assert "negation" in kept["checks"]  # type: ignore[operator]
    assert kept["joules"] == 0.5 * WATTS
    assert "xylophone" not in json.dumps(kept)


def test_record_holds(state: Path) -> None:
    assert check_records(state / "queries" / "page") == "3 queries, each with its record"
    assert (state / "queries" / "page" / RECORDS_FILE).stat().st_mode & 0o077 == 0


def changed(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"anna"', b'"otto"'), lines[2]]


@pytest.mark.parametrize(
    "tamper",
    [changed, lambda lines: [lines[0], lines[2]], lambda lines: [lines[1], lines[0], lines[2]]],
    ids=["changed", "removed", "exchanged"],
)
def test_tampered_record_is_named(state: Path, tamper: object) -> None:
    path = state / "queries" / "page" / RECORDS_FILE
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join(tamper(lines)) + b"\n")  # type: ignore[operator]
    with pytest.raises(TrustError, match=r"queries\.jsonl: the record of entry 3"):
        check_records(path.parent)


def test_record_that_a_crash_left_without_entry_does_not_count(state: Path) -> None:
    path = state / "queries" / "page" / RECORDS_FILE
    path.write_bytes(path.read_bytes() + b'{"half')
    assert check_records(path.parent) == "3 queries, each with its record"
    with QueryLog(state, writer="page", owner="north") as log:
        log.note(record())
    with pytest.raises(TrustError, match="entry 5"):
        check_records(path.parent)


def test_second_writer_is_refused(state: Path) -> None:
    first, second = (QueryLog(state, writer="page", owner="north") for _ in range(2))
    with first, second:
        first.note(record())
        with pytest.raises(TrustError, match="another process has it open"):
            second.note(record())


def test_command_reads_checks_and_names_a_tampered_entry(
    run: Run, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:
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
    run: Run, config: Path, site: SiteConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:
    assert run("site", "index", "--config", config, "--model", tmp_path) == 0
    capsys.readouterr()
    search = ("site", "search", "--config", config, "--model", tmp_path, "--alone", "--text")
    assert run(*search, "pneumonia, no effusion 3", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [part["words"] for part in said["understood"]["parts"]] == ["pneumonia", "Effusion"]
    assert {one["verdict"] for hit in said["hits"] for one in hit["rules"]} == {"silent"}
    assert run(*search, "pneumonia of MRN-1234567") == 3
    assert run("audit", "queries", site.state_folder) == 0
    assert "1 queries" in capsys.readouterr().out
