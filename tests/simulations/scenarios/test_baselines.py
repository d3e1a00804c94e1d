"""`--scenario baselines` on the tiny cohort: every baseline over one gallery, kept and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.config.load import load_config
from server.report.summary import validate
from simulations.scenarios import baselines
from simulations.scenarios.baselines import BASELINES, RESULTS_FILE, simulate_baselines

NAMES = {
    "public_only",
    "site_alone",
    "federated",
    "federated_epsilon_8",
    "federated_epsilon_2",
    "centralised",
    "centralised_in_batch",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("baselines") / "run"


@pytest.fixture(scope="module")
def config(tiny_overrides: list[str]) -> Any:
    enough = ["data.test_fraction=0.5", "training.steps_per_round=2"]  # groups of each site are shown
    return load_config([*tiny_overrides, *enough, "baselines.repeats=1", "federation.rounds=1"])


@pytest.fixture(scope="module")
def summary(config: Any, folder: Path, quiet_watcher: Any) -> dict[str, Any]:
    return simulate_baselines(config, folder, watcher=quiet_watcher)


def test_every_baseline_of_the_design_has_one_rate_a_seed(summary: dict[str, Any]) -> None:
    validate(summary)
    assert summary["baselines"].keys() == NAMES == BASELINES.keys()
    for found in summary["baselines"].values():
        assert len(found["recall_at_10"]) == len(found["codes_recall_at_10"]) == 1
        assert 0 <= found["recall_at_10"][0] <= 1


def test_report_shows_the_private_federation(summary: dict[str, Any], folder: Path) -> None:
    assert summary["privacy"]["target_epsilon"] == 8.0
    assert summary["pooled"]["recall_at_10"] == summary["baselines"]["federated_epsilon_8"]["recall_at_10"][0]
    assert all(site["epsilon"] <= 8.0 for site in summary["sites"].values())
    assert (folder / "report.html").stat().st_size > 0


def test_best_site_alone_is_shown(summary: dict[str, Any], folder: Path) -> None:
    alone = folder / "baselines" / "seed-0" / "site_alone"
    assert len(list(alone.iterdir())) == len(summary["sites"])


def test_groups_are_held_against_the_same_federation_without_noise(summary: dict[str, Any], config: Any) -> None:
    groups = summary["baseline_groups"]
    assert {(row["attribute"], row["group"]) for row in groups} >= {("sex", "F"), ("sex", "M")}
    for row in groups:
        assert row["recall_at_10"].keys() == {"public_only", "federated", "federated_epsilon_8", "federated_epsilon_2"}
        assert all(len(recalls) == 1 for recalls in row["recall_at_10"].values())
        assert row["held_out_share"] == pytest.approx(config.data.test_fraction, abs=0.05)
    assert "$.baseline_groups" in summary["not_private"]


def test_every_site_has_what_it_got_by_training_alone(summary: dict[str, Any]) -> None:
    for site in summary["sites"].values():
        assert site["alone"]["low"] <= site["alone"]["recall_at_10"] <= site["alone"]["high"]
    women = [row for row in summary["groups"] if row["group"] == "F" and row["site"] in summary["sites"]]
    assert all("alone_recall_at_10" in row["metrics"] for row in women if not row["suppressed"])


def test_only_the_private_baselines_have_an_epsilon() -> None:
    epsilons = {}
    for name, baseline in BASELINES.items():
        changed = load_config(["privacy.epsilon=5"])
        baseline.change(changed)
        epsilons[name] = changed.privacy.epsilon
    assert (epsilons["federated_epsilon_8"], epsilons["federated_epsilon_2"]) == (8.0, 2.0)
    open_ones = NAMES - {"public_only", "federated_epsilon_8", "federated_epsilon_2"}
    assert {epsilons[name] for name in open_ones} == {None}


def test_stopped_comparison_goes_on_with_what_is_missing(
    summary: dict[str, Any], folder: Path, config: Any, quiet_watcher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = json.loads((folder / RESULTS_FILE).read_bytes())
    del results["centralised"]
    (folder / RESULTS_FILE).write_text(json.dumps(results), encoding="utf-8")
    trained = []
    train = baselines._train

    def counting(*arguments: Any) -> Any:
        trained.append(arguments[5].parent.name)
        return train(*arguments)

    monkeypatch.setattr(baselines, "_train", counting)
    again = simulate_baselines(config, folder, watcher=quiet_watcher)
    assert trained == ["federated_epsilon_8", "centralised"]
    assert again["baselines"].keys() == summary["baselines"].keys()
    for name, found in summary["baselines"].items():
        assert again["baselines"][name] == found
