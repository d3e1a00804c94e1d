"""`--scenario robustness` on a tiny cohort: two rules under two attacks, kept, gone on with, and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from server.checkpoint import RunState
from server.report.summary import validate
from simulations.scenarios import robustness
from simulations.scenarios.robustness import RESULTS_FILE, attackers_of, simulate_robustness
from tests.conftest import QuietWatcher

GRID = (
    "robustness.rules=[mean,trimmed_mean]",
    "robustness.attacks=[nan,backdoor]",
    "robustness.num_byzantine=[0,1,2]",
    "robustness.epsilons=[null,8]",
    "federation.rounds=1",
    "training.steps_per_round=1",
)
"""Of three sites; with two bad ones trimming refuses."""
NUM_CELLS = 2 * (2 + 2 * 2 * 3)


class Counting(QuietWatcher):
    """Counts cells, and stops before one as a kill would."""

    def __init__(self, *, stop_before: int | None = None) -> None:
        self.begun: list[int] = []
        self._stop_before = stop_before

    def cell_begins(self, label: str, *, number: int, of: int) -> None:
        """See `GridWatcher`."""
        assert of == NUM_CELLS, label
        if number == self._stop_before:
            raise KeyboardInterrupt
        self.begun.append(number)


@pytest.fixture(scope="module")
def config(tiny_overrides: list[str]) -> RunConfig:
    return load_config([*tiny_overrides, *GRID])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("robustness") / "run"


@pytest.fixture(scope="module")
def killed(config: RunConfig, folder: Path) -> list[dict[str, Any]]:
    """The cells that a grid left which was killed before its tenth."""
    with pytest.raises(KeyboardInterrupt):
        simulate_robustness(config, folder, watcher=Counting(stop_before=10))
    cells: list[dict[str, Any]] = json.loads((folder / RESULTS_FILE).read_bytes())["cells"]
    return cells


@pytest.fixture(scope="module")
def resumed(killed: list[dict[str, Any]], config: RunConfig, folder: Path) -> tuple[Counting, dict[str, Any]]:
    assert killed
    watcher = Counting()
    return watcher, simulate_robustness(config, folder, watcher=watcher)


@pytest.fixture(scope="module")
def cells(resumed: tuple[Counting, dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    keys = ("epsilon", "num_byzantine", "rule", "attack")
    return {tuple(cell[key] for key in keys): cell for cell in resumed[1]["robustness"]["cells"]}


def test_killed_grid_goes_on_with_the_next_cell_and_keeps_the_others(
    killed: list[dict[str, Any]], resumed: tuple[Counting, dict[str, Any]]
) -> None:
    """The two references are never begun twice: one is the grid's first cell, one is the federation that is shown."""
    watcher, summary = resumed
    assert len(killed) == 10
    assert watcher.begun[0] == 10
    assert len(watcher.begun) == NUM_CELLS - 10
    assert len(summary["robustness"]["cells"]) == NUM_CELLS
    for cell in killed:
        cell = {name: value for name, value in cell.items() if name not in ("seed", "seconds")}
        assert cell.items() <= next(c for c in summary["robustness"]["cells"] if c.items() >= cell.items()).items()


def test_summary_is_valid_and_the_report_is_there(resumed: tuple[Counting, dict[str, Any]], folder: Path) -> None:
    validate(resumed[1])
    assert json.loads((folder / "summary.json").read_bytes()) == resumed[1]
    assert "Could one hospital spoil it?" in (folder / "report.html").read_text(encoding="utf-8")


def test_reference_is_the_federation_that_is_shown(
    resumed: tuple[Counting, dict[str, Any]], cells: dict[tuple[Any, ...], dict[str, Any]]
) -> None:
    summary = resumed[1]
    reference = cells[8.0, 0, "mean", "none"]
    assert summary["privacy"]["target_epsilon"] == 8.0
    assert summary["pooled"]["recall_at_10"] == reference["recall_at_10"]
    assert reference["kept"] == 1.0
    assert all(site["epsilon"] <= 8.0 and not site["drops"] for site in summary["sites"].values())


def test_attackers_are_the_last_sites_and_their_drops_are_told(cells: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    dropped = cells[None, 1, "trimmed_mean", "nan"]
    # Two of three sites are left, and trimming one at each end would need three.
    assert (dropped["attacker_drops"], dropped["recall_at_10"], dropped["kept"]) == ({"nan": 1}, None, None)
    assert cells[None, 1, "mean", "nan"]["attacker_weight"] == 0.0
    assert 0 < cells[None, 1, "mean", "backdoor"]["attacker_weight"] < 1
    assert cells[None, 1, "mean", "none"]["attacker_weight"] is None


def test_refusal_is_recorded_with_its_reason(cells: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    refused = {key for key, cell in cells.items() if cell["refusal"] is not None}
    too_many = {(epsilon, 2, "trimmed_mean", attack) for epsilon in (None, 8.0) for attack in ("none", "backdoor")}
    assert too_many <= refused
    assert not {key for key in refused if key[1] == 0}
    for key in too_many:
        assert "num_byzantine=2" in cells[key]["refusal"]
        assert cells[key]["rounds_updated"] == 0


def test_backdoor_is_measured_where_it_is_tried(cells: dict[tuple[Any, ...], dict[str, Any]]) -> None:
    for key, cell in cells.items():
        tried = key[3] == "backdoor" and cell["refusal"] is None
        assert (cell["backdoor_success"] is not None) is tried
        assert (cell["backdoor_control"] is not None) is tried


def test_attack_free_mean_is_told_alike_whatever_it_is_told_to_bear(
    cells: dict[tuple[Any, ...], dict[str, Any]],
) -> None:
    """It bears none: without an attack, two cells of one rule are one federation, and without privacy equal."""
    assert cells[None, 2, "mean", "none"]["recall_at_10"] == cells[None, 0, "mean", "none"]["recall_at_10"]


def test_finished_grid_trains_nothing_anew(
    resumed: tuple[Counting, dict[str, Any]], config: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resumed[1]["robustness"]
    monkeypatch.setattr(robustness._Runner, "measure", None)
    assert simulate_robustness(config, folder, watcher=Counting())["robustness"] == before


def test_attackers_figures_are_over_all_of_them() -> None:
    state = RunState("", 3, {})
    state.rounds = [
        {"outcome": "updated", "dropped": {"c": "nan"}, "weights": {"a": 0.5, "b": 0.1, "d": 0.4}},
        {"outcome": "quorum_missed", "dropped": {"c": "nan", "d": "late"}, "weights": {}},
        {"outcome": "updated", "dropped": {"a": "late"}, "weights": {"b": 0.2, "c": 0.3, "d": 0.5}},
    ]
    assert attackers_of(state, ("c", "d")) == {
        "attacker_drops": {"late": 1, "nan": 2},
        "attacker_weight": pytest.approx((0.4 + 0.8) / 2),
    }
    assert attackers_of(state, ()) == {"attacker_drops": {}, "attacker_weight": None}
