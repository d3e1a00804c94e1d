"""`--scenario fairness` on a tiny cohort with planted bias: kept, gone on with, measured, and reported."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from common.config.load import load_config
from common.config.schema import RunConfig
from common.errors import CheckpointError
from server.checkpoint import RunState
from server.report.summary import validate
from simulations.measurement.group_thresholds import decided_about
from simulations.scenarios import fairness
from simulations.scenarios.fairness import RESULTS_FILE, released_recall, simulate_fairness
from simulations.scenarios.remedies import untreated
from simulations.scenarios.simulate import PUBLIC_MODEL_FILE, Clock, prepare
from simulations.studies.source import folder_of
from tests.conftest import QuietWatcher

COMPARED = (
    "data.test_fraction=0.4",
    "remedies.repeats=1",
    "remedies.epsilons=[8]",
    "remedies.names=[weight+adversary,site_weights,tone+words]",
    "federation.rounds=1",
    "training.steps_per_round=1",
)
CELLS = [(8.0, remedy) for remedy in ("none", "weight+adversary", "site_weights", "tone+words")]


class Counting(QuietWatcher):
    """Counts cells, and stops before one as a kill would."""

    def __init__(self, *, stop_before: int | None = None) -> None:
        self.begun: list[int] = []
        self._stop_before = stop_before

    def cell_begins(self, label: str, *, number: int, of: int) -> None:
        """See `GridWatcher`."""
        assert of == len(CELLS), label
        if number == self._stop_before:
            raise KeyboardInterrupt
        self.begun.append(number)


@pytest.fixture(scope="module")
def config(tiny_overrides: list[str]) -> RunConfig:
    return load_config([*tiny_overrides, *COMPARED], scenario="fairness")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fairness") / "run"


@pytest.fixture(scope="module")
def killed(config: RunConfig, folder: Path) -> list[dict[str, Any]]:
    """The cells that a scenario left which was killed before its third."""
    with pytest.raises(KeyboardInterrupt):
        simulate_fairness(config, folder, watcher=Counting(stop_before=3))
    cells: list[dict[str, Any]] = json.loads((folder / RESULTS_FILE).read_bytes())["cells"]
    return cells


@pytest.fixture(scope="module")
def resumed(killed: list[dict[str, Any]], config: RunConfig, folder: Path) -> tuple[Counting, dict[str, Any]]:
    assert len(killed) == 2
    watcher = Counting()
    return watcher, simulate_fairness(config, folder, watcher=watcher)


@pytest.fixture(scope="module")
def rows(resumed: tuple[Counting, dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {(row["epsilon"], row["remedy"]): row for row in resumed[1]["remedies"]["cells"]}


def test_killed_scenario_goes_on_with_the_next_cell_and_keeps_the_others(
    killed: list[dict[str, Any]], resumed: tuple[Counting, dict[str, Any]], folder: Path
) -> None:
    assert resumed[0].begun == [3, 4]
    kept = json.loads((folder / RESULTS_FILE).read_bytes())["cells"]
    assert all(cell in kept for cell in killed)
    assert len(kept) == len(CELLS)


def test_summary_is_valid_and_the_report_is_there(resumed: tuple[Counting, dict[str, Any]], folder: Path) -> None:
    summary = resumed[1]
    validate(summary)
    assert json.loads((folder / "summary.json").read_bytes()) == summary
    assert "$.remedies" in summary["not_private"]
    assert "What helps who is served worse?" in (folder / "report.html").read_text(encoding="utf-8")


def test_every_cell_is_there_and_the_untreated_one_keeps_all(rows: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    assert list(rows) == CELLS
    assert rows[8.0, "none"]["kept"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_shown_federation_is_the_untreated_one_at_the_last_epsilon(
    resumed: tuple[Counting, dict[str, Any]], rows: dict[tuple[Any, ...], dict[str, Any]]
) -> None:
    summary = resumed[1]
    assert summary["privacy"]["target_epsilon"] == 8.0
    assert rows[8.0, "none"]["recall_at_10"]["value"] == pytest.approx(summary["pooled"]["recall_at_10"], abs=1e-6)
    assert all(site["epsilon"] <= 8.0 and site["private"] for site in summary["sites"].values())


def test_weights_of_hospitals_follow_from_what_was_released_at_the_same_epsilon(
    config: RunConfig,
    folder: Path,
    resumed: tuple[Counting, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert resumed
    again = shutil.copytree(folder, tmp_path / "run")
    kept = json.loads((again / RESULTS_FILE).read_bytes())
    told = next(cell["site_recall"] for cell in kept["cells"] if (cell["epsilon"], cell["remedy"]) == (8.0, "none"))
    kept["cells"] = [cell for cell in kept["cells"] if (cell["epsilon"], cell["remedy"]) != (8.0, "site_weights")]
    (again / RESULTS_FILE).write_text(json.dumps(kept))
    asked: list[RunConfig] = []

    def stop(config: RunConfig, *_: object, **__: object) -> None:
        asked.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(fairness._Runner, "shown", lambda runner, cell: None)  # noqa: ARG005 - as kept
    monkeypatch.setattr(fairness._Runner, "found", lambda runner, cell, trained: kept["cells"][0])  # noqa: ARG005 - as kept
    monkeypatch.setattr(fairness, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        simulate_fairness(config, again, watcher=Counting())
    assert asked[0].mitigation.site_recall == told
    assert set(told) <= {"northgate", "riverside", "st-marys"}
    assert asked[0].mitigation.emphasis == {}


def test_an_encoder_is_a_remedy_with_a_first_model_of_its_own(
    config: RunConfig, folder: Path, resumed: tuple[Counting, dict[str, Any]]
) -> None:
    assert resumed
    seed = folder / f"seed-{config.seed}"
    plain, own = (load_file(path / PUBLIC_MODEL_FILE) for path in (seed, seed / "equalised-public"))
    assert own.keys() - plain.keys() == {"report_tower.trunk.known"}
    assert not np.array_equal(plain["image_tower.trunk.patches.weight"], own["image_tower.trunk.patches.weight"])


def test_decisions_by_group_are_those_of_the_kept_trial(
    resumed: tuple[Counting, dict[str, Any]], folder: Path, config: RunConfig
) -> None:
    (row,) = resumed[1]["remedies"]["thresholds"]
    kept = json.loads((folder / RESULTS_FILE).read_bytes())["cells"]
    trial = next(cell["decisions"] for cell in kept if cell["remedy"] == "none")
    assert [cell["decisions"] for cell in kept if cell["remedy"] != "none"] == [None] * 3
    assert set(row["groups"]) == {"Asian", "Black", "Hispanic", "White", "other", "unknown"}
    consortium = prepare(untreated(config), Clock(QuietWatcher()))[0]
    is_black = decided_about(consortium.held_out(consortium.sites).records, config).groups == "Black"
    for at in ("public", "own"):
        true, false = (np.array(trial[at][kind]) for kind in ("true", "false"))
        gaps = [kind[~is_black].mean() - kind[is_black].mean() for kind in (true, false)]
        assert [row[at][name]["value"] for name in ("true_positive", "false_positive")] == pytest.approx(gaps)
        assert row[at]["odds"]["value"] == pytest.approx(max(map(abs, gaps)))


def test_results_of_another_config_are_refused(
    config: RunConfig, tmp_path: Path, folder: Path, resumed: object
) -> None:
    assert resumed
    (tmp_path / RESULTS_FILE).write_bytes((folder / RESULTS_FILE).read_bytes())
    other = load_config(["seed=7"], scenario="fairness")
    assert other.seed != config.seed
    with pytest.raises(CheckpointError, match="another config"):
        simulate_fairness(other, tmp_path, watcher=Counting())


def test_released_recall_is_read_from_noised_counts_and_from_exact_figures_alone() -> None:
    state = RunState("", 1, {})
    state.latest = {
        "noised": {"paired": {"both": 30.0, "start_only": 10.0, "final_only": 20.0, "neither": 40.0}},
        "drowned": {"paired": {"both": -3.0, "start_only": 1.0, "final_only": 0.0, "neither": 1.0}},
        "exact": {"brief": {}, "metrics": {"recall_at_10": 0.25}},
        "silent": {"brief": {}},
    }
    assert released_recall(state) == {"noised": pytest.approx(0.5), "exact": 0.25}


def test_figures_are_those_of_the_kept_hits_and_the_cohorts_own_table(
    rows: dict[tuple[Any, ...], dict[str, Any]], folder: Path, config: RunConfig
) -> None:
    """Whose each hit is, is read from the manifest here, by patient."""
    kept = json.loads((folder / RESULTS_FILE).read_bytes())["cells"]
    hits = np.array(next(cell["hits"] for cell in kept if (cell["epsilon"], cell["remedy"]) == (8.0, "site_weights")))
    table = folder_of(config).root / "manifest.csv"
    with table.open(encoding="utf-8") as file:
        races = {row["patient_id"]: row["race"] for row in csv.DictReader(file)}
    consortium = prepare(config, Clock(QuietWatcher()))[0]
    held_out = [races[record.patient_id] for record in consortium.held_out(consortium.sites).records]
    is_black = np.array([race == "Black" for race in held_out])
    row = rows[8.0, "site_weights"]
    assert row["recall_at_10"]["value"] == pytest.approx(hits.mean())
    assert row["gap"]["value"] == pytest.approx(hits[~is_black].mean() - hits[is_black].mean())
    assert row["groups"]["Black"] == pytest.approx(hits[is_black].mean())
