"""What the deployed bench of searching asks and reads; the deployment itself is that of `tests/e2e/test_search.py`."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

from client.policy.site_config import load_site_config
from common.service.log_format import JsonFormatter
from common.wire.searching import QUESTION_TYPE
from simulations.benchmarks.cli import BENCHES, DEPLOYED
from simulations.benchmarks.search_deployment import _OPEN_LIMITS, answered_in, queries_of
from simulations.deployment.loopback import SITE_YAML


def test_every_deployed_bench_can_be_loaded() -> None:
    assert set(DEPLOYED.values()) <= set(BENCHES.names)
    assert all(callable(BENCHES.load(name)) for name in DEPLOYED.values())


def test_times_of_questions_are_read_from_a_relays_log_and_those_of_tasks_are_not(tmp_path: Path) -> None:
    """The line is the relay's own (`client/deploy/relay.py`), as its process writes it."""
    words = "answered %s of run %d, round %s, in %.2f s%s"
    said = [(QUESTION_TYPE, 7, "-", 0.31, ""), ("train", 7, "1", 9.5, ""), (QUESTION_TYPE, 7, "-", 1.05, ", reason x")]
    formatter = JsonFormatter("site")
    lines = [
        formatter.format(logging.makeLogRecord({"name": "wardround.relay", "msg": words, "args": one})) for one in said
    ]
    log = tmp_path / "north.log"
    log.write_text("\n".join(lines), encoding="utf-8")
    assert answered_in(log) == [0.31, 1.05]


def test_queries_are_of_different_studies(tmp_path: Path) -> None:
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["study_id", "image_path", "report"])
        writer.writerows([f"s{i}", f"{i}.png", f"report {i // 2}"] for i in range(8))
    words, pictures = queries_of(tmp_path, number=3)
    assert [query.text for query in words] == ["report 0", "report 1", "report 2"]
    assert [query.image for query in pictures] == [tmp_path / f"{i}.png" for i in range(3)]


def test_limits_that_are_opened_are_those_of_site_yaml(tmp_path: Path) -> None:
    """They are lines after the last one: where `search` ends site.yaml no longer, this fails."""
    for name in ("studies", "public"):
        (tmp_path / name).mkdir()
    path = tmp_path / "site.yaml"
    path.write_text(SITE_YAML.format(site="north", public="public", search_port=1) + _OPEN_LIMITS, encoding="utf-8")
    search = load_site_config(path).search
    assert {search.questions_per_hour, search.nearby_per_day, search.studies_per_day} == {10**6}
