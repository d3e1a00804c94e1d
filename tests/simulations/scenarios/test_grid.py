"""The cells of the grid, their order, what they are compared with, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.config.load import load_config
from common.config.schema import RunConfig
from common.errors import CheckpointError, ConfigError
from simulations.scenarios.cells import KeptCells
from simulations.scenarios.grid import Cell, check_grid, compared, grid


def config(*overrides: str) -> RunConfig:
    lists = ("rules=[mean,trimmed_mean]", "attacks=[nan,sign_flip]", "num_byzantine=[0,1]", "epsilons=[null,8]")
    return load_config([f"robustness.{one}" for one in lists] + list(overrides))


def test_grid_has_each_cell_once_and_begins_with_the_reference() -> None:
    cells = grid(config().robustness)
    half = [
        (0, "mean", "none"),
        (0, "trimmed_mean", "none"),
        *((1, rule, attack) for rule in ("mean", "trimmed_mean") for attack in ("none", "nan", "sign_flip")),
    ]
    assert cells == [Cell(epsilon, *rest) for epsilon in (None, 8.0) for rest in half]


def test_reference_is_there_though_nobody_asked_for_it() -> None:
    cells = grid(config("robustness.rules=[median]", "robustness.num_byzantine=[2]").robustness)
    assert cells[0] == Cell(None, 0, "mean", "none")
    assert [cell.rule for cell in cells].count("mean") == 2


def test_rule_is_told_of_the_attackers_and_the_mean_of_none() -> None:
    changed = Cell(8.0, 2, "trimmed_mean", "nan").changed(config())
    assert (changed.aggregator.name, changed.aggregator.num_byzantine) == ("trimmed_mean", 2)
    assert (changed.attack.name, changed.attack.num_sites) == ("nan", 2)
    changed = Cell(8.0, 2, "mean", "nan").changed(config())
    assert (changed.aggregator.num_byzantine, changed.attack.num_sites) == (0, 2)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("robustness.rules=[]", "robustness.rules: empty"),
        ("robustness.attacks=[]", "robustness.attacks: empty"),
        ("robustness.num_byzantine=[-1]", "a number of sites is at least 0"),
        ("robustness.rules=[trimed_mean]", "did you mean trimmed_mean"),
        ("robustness.attacks=[nan,sign_flp]", "did you mean sign_flip"),
        ("robustness.epsilons=[8] loss.name=in_batch", "loss.name"),
    ],
)
def test_grid_that_cannot_run_is_refused_before_a_study_is_read(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_grid(config(*override.split()))


def found(recall: float | None) -> dict[str, Any]:
    return {"recall_at_10": recall, "codes_recall_at_10": recall}


def test_kept_share_is_over_the_attack_free_mean_at_the_same_epsilon() -> None:
    rows = {
        Cell(None, 0, "mean", "none"): found(0.5),
        Cell(None, 0, "median", "none"): found(0.25),
        Cell(None, 2, "median", "nan"): found(0.2),
        Cell(None, 2, "krum", "nan"): found(None),
        Cell(8.0, 0, "mean", "none"): found(0.4),
        Cell(8.0, 2, "median", "nan"): found(0.44),
    }
    result = compared({(0, cell): one for cell, one in rows.items()})
    assert [cell["kept"] for cell in result["cells"]] == [1.0, 0.5, 0.4, None, 1.0, pytest.approx(1.1)]
    assert [(one["epsilon"], one["recall_at_10"]) for one in result["references"]] == [(None, 0.5), (8.0, 0.4)]


def test_nothing_is_kept_of_nothing() -> None:
    assert compared({(0, Cell(None, 0, "mean", "none")): found(0.0)})["cells"][0]["kept"] is None


def test_cell_is_the_mean_over_its_seeds_and_one_refusal_is_a_refusal() -> None:
    counted = {"refusal": None, "rounds_updated": 3, "attacker_drops": {"nan": 2}, "seconds": 1.0}
    refused = counted | {"refusal": "too few", "rounds_updated": 0}
    reference, held, fell = (Cell(None, f, "mean", "none") for f in range(3))
    result = compared(
        {
            (0, reference): found(0.4) | counted,
            (1, reference): found(0.6) | counted,
            (0, held): found(0.2) | counted,
            (1, held): found(0.3) | counted | {"attacker_drops": {"nan": 1, "late": 1}},
            (0, fell): found(0.2) | counted,
            (1, fell): found(None) | refused,
        }
    )
    assert result["references"] == [{"epsilon": None, "recall_at_10": 0.5, "codes_recall_at_10": 0.5}]
    cells = {cell["num_byzantine"]: cell for cell in result["cells"]}
    assert (cells[1]["recall_at_10"], cells[1]["kept"]) == (0.25, 0.5)
    assert (cells[1]["attacker_drops"], cells[1]["seconds"]) == ({"nan": 3, "late": 1}, 2.0)
    assert (cells[2]["refusal"], cells[2]["recall_at_10"], cells[2]["rounds_updated"]) == ("too few", None, 3)


def test_cells_are_kept_on_the_disk(tmp_path: Path) -> None:
    first, second = (0, Cell(None, 1, "median", "nan")), (1, Cell(8.0, 2, "mean", "none"))
    kept = KeptCells(tmp_path / "found.json", "ab", Cell)
    kept.add(first, found(0.3))
    kept.add(second, found(None))
    assert KeptCells(tmp_path / "found.json", "ab", Cell).found == {first: found(0.3), second: found(None)}


def test_cells_of_another_config_are_refused(tmp_path: Path) -> None:
    KeptCells(tmp_path / "found.json", "ab", Cell).add((0, Cell(None, 1, "median", "nan")), found(0.3))
    with pytest.raises(CheckpointError, match="another config"):
        KeptCells(tmp_path / "found.json", "cd", Cell)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": [{}]}', '{"cells": 3}', '{"cells": [3]}'])
def test_damaged_file_names_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "found.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged; remove it and resume"):
        KeptCells(tmp_path / "found.json", "ab", Cell)
