"""One simulated run: its folder, its repeatability, its resume, and how it fails."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.dp.randomness import SeededRandomness
from common.config.load import config_digest, load_config, read_run_config
from common.errors import CheckFailed, CheckpointError, PolicyRefusal
from common.model.form import RELEVANCE_FILE
from common.privacy.bands import delta_for
from common.privacy.forecast import forecast
from common.seeds import torch_generator
from server.checkpoint import load_state
from server.model.ended_run import CONFIG_FILE, PUBLIC_MODEL_FILE, START_MODEL_FILE
from server.report.summary import validate
from server.report.write import ROUNDS_FILE
from simulations.scenarios.simulate import simulate
from tests.conftest import QuietWatcher

BAD_SITES = {
    "nan": "nan",
    "raise": "raised",
    "other_keys": "keys",
    "other_shape": "shape",
}


def test_run_folder_holds_what_the_design_names(finished_run: Any) -> None:
    folder = finished_run.folder
    written = {path.name for path in folder.iterdir()}
    assert written == {
        "report.html",
        "summary.json",
        ROUNDS_FILE,
        CONFIG_FILE,
        PUBLIC_MODEL_FILE,
        START_MODEL_FILE,
        RELEVANCE_FILE,
        "checkpoint",
    }
    assert json.loads((folder / "summary.json").read_bytes()) == finished_run.summary
    assert read_run_config(folder / CONFIG_FILE) == finished_run.config
    rounds = [json.loads(line) for line in (folder / ROUNDS_FILE).read_text(encoding="utf-8").splitlines()]
    assert rounds == finished_run.state.rounds
    assert [record["round"] for record in rounds] == [1, 2]
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!")


def test_summary_is_valid_and_measures_over_one_gallery(finished_run: Any) -> None:
    summary = finished_run.summary
    validate(summary)
    assert summary["pooled"]["gallery"] > max(site["gallery"] for site in summary["sites"].values())
    assert summary["pooled"]["start"].keys() >= {"recall_at_10", "mrr"}
    assert summary["timings"].keys() == {f"{p}_seconds" for p in ("prepare", "public_fit", "rounds", "evaluation")}
    assert sum(summary["timings"].values()) <= summary["seconds"]


def test_every_round_has_the_sites_measurements_of_its_model(finished_run: Any) -> None:
    """Also the last one, which the message after it measures."""
    for record in finished_run.state.rounds:
        assert record["metrics"].keys() == finished_run.state.sites.keys()
        assert all(0 <= found["recall_at_10"] <= 1 for found in record["metrics"].values())


def test_two_runs_of_one_config_give_the_same_bits(finished_run: Any, tiny_run: Any, tmp_path: Path) -> None:
    again = tiny_run(tmp_path / "again")
    assert again.model == finished_run.model
    assert again.state.rounds[-1]["weights"] == finished_run.state.rounds[-1]["weights"]
    untimed = ("seconds", "timings", "started_at")
    assert {key: value for key, value in again.summary.items() if key not in untimed} == {
        key: value for key, value in finished_run.summary.items() if key not in untimed
    }


def test_another_seed_gives_another_model(finished_run: Any, tiny_run: Any, tmp_path: Path) -> None:
    """The control of the equality above."""
    assert tiny_run(tmp_path / "other", "seed=1").model != finished_run.model


def test_private_run_spends_what_it_was_given_and_repeats_under_injected_noise_alone(
    tiny_run: Any, tmp_path: Path
) -> None:
    def seeded(site: str, round_number: int) -> SeededRandomness:
        return SeededRandomness(torch_generator(7, site, round_number))

    first, second = (tiny_run(tmp_path / name, "privacy.epsilon=1", randomness=seeded) for name in ("1", "2"))
    noised = tiny_run(tmp_path / "3", "privacy.epsilon=1")
    assert first.model == second.model != noised.model
    validate(noised.summary)
    for site in noised.summary["sites"].values():
        assert 0.95 < site["epsilon"] <= 1.0
        assert (site["delta"], site["noise_multiplier"] > 0) == (delta_for(site["patients_band"]), True)
    assert {path.suffix for path in (tmp_path / "3" / "ledgers").iterdir()} >= {".sqlite3", ".head", ".pem"}


def test_run_with_shared_noise_spends_the_same_and_says_what_is_shared(
    tiny_overrides: list[str], tmp_path: Path, quiet_watcher: Any
) -> None:
    shared = ["privacy.epsilon=1", "privacy.noise=shared", "aggregator.name=caf", "aggregator.num_byzantine=1"]
    config = load_config([*tiny_overrides, *shared])
    summary = simulate(config, tmp_path / "run", watcher=quiet_watcher)
    validate(summary)
    for site in summary["sites"].values():
        assert 0.5 < site["epsilon"] <= 1.0 < site["epsilon_alone"]
        assert site["rounds_joined"] == config.federation.rounds
    kept = read_run_config(tmp_path / "run" / "config.yaml").privacy.cohort
    assert kept == {name: site["patients_band"] for name, site in summary["sites"].items()}
    again = simulate(read_run_config(tmp_path / "run" / "config.yaml"), tmp_path / "run", watcher=quiet_watcher)
    assert again["pooled"] == summary["pooled"]


def test_finished_run_is_gone_on_with_to_the_same_result(finished_run: Any, tiny_run: Any, tmp_path: Path) -> None:
    shutil.copytree(finished_run.folder, tmp_path / "copy")
    again = tiny_run(tmp_path / "copy")
    assert again.model == finished_run.model
    assert again.state.rounds_completed == 2
    assert again.summary["sites"] == finished_run.summary["sites"]
    assert again.summary["pooled"] == finished_run.summary["pooled"]


def test_folder_of_another_run_is_refused_untouched(finished_run: Any, tiny_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished_run.folder, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"another config\.yaml"):
        tiny_run(folder, "training.steps_per_round=4")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("damage", [b"", b"not a safetensors file"])
def test_damaged_public_model_is_refused(finished_run: Any, tiny_run: Any, tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished_run.folder, folder)
    (folder / PUBLIC_MODEL_FILE).write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"public_model\.safetensors: damaged") as caught:
        tiny_run(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("attack", "reason"), BAD_SITES.items())
def test_bad_site_is_named_with_its_reason_and_the_run_completes(
    tiny_run: Any, tmp_path: Path, attack: str, reason: str
) -> None:
    found = tiny_run(tmp_path / "run", f"attack.name={attack}", "attack.num_sites=1")
    validate(found.summary)
    *honest, bad = found.summary["sites"].values()
    assert found.summary["status"] == "completed"
    assert (bad["drops"], bad["rounds_joined"]) == ({reason: 2}, 0)
    assert all((site["drops"], site["rounds_joined"]) == ({}, 2) for site in honest)
    assert "John Doe" not in "".join(
        path.read_text(encoding="utf-8")
        for path in found.folder.iterdir()
        if path.suffix in {".html", ".json", ".jsonl"}
    )


def test_silent_site_is_late_and_the_run_completes(tiny_run: Any, tmp_path: Path) -> None:
    options = ("attack.name=silent", "attack.num_sites=1", "federation.rounds=1", "federation.deadline_seconds=3")
    found = tiny_run(tmp_path / "run", *options)
    validate(found.summary)
    *honest, silent = found.summary["sites"].values()
    assert (silent["drops"], silent["rounds_joined"], silent["metrics"]) == ({"late": 1}, 0, None)
    assert all(site["rounds_joined"] == 1 for site in honest)
    assert found.summary["timings"]["rounds_seconds"] < 2 * 3 + 6


def test_sign_flip_is_admitted_and_moves_the_mean(finished_run: Any, tiny_run: Any, tmp_path: Path) -> None:
    """Admission cannot see it: that takes a robust rule."""
    found = tiny_run(tmp_path / "run", "attack.name=sign_flip", "attack.num_sites=1")
    assert all((site["drops"], site["rounds_joined"]) == ({}, 2) for site in found.summary["sites"].values())
    assert found.model != finished_run.model


def test_run_of_bad_sites_alone_fails_with_a_report(tiny_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(CheckFailed, match="no round changed the model"):
        tiny_run(folder, "attack.name=nan", "attack.num_sites=3")
    summary = json.loads((folder / "summary.json").read_bytes())
    validate(summary)
    assert (summary["status"], summary["rounds_completed"]) == ("failed", 2)
    assert "no round changed the model" in summary["reason"]
    assert all(site["drops"] == {"nan": 2} for site in summary["sites"].values())
    assert "no round changed the model" in (folder / "report.html").read_text(encoding="utf-8")
    state = load_state(folder, config_digest=config_digest(read_run_config(folder / CONFIG_FILE)))
    assert [record["outcome"] for record in state.rounds] == ["quorum_missed"] * 2


def test_trimmed_mean_bears_the_bad_site_in_a_run(tiny_run: Any, tmp_path: Path) -> None:
    options = ("aggregator.name=trimmed_mean", "aggregator.num_byzantine=1")
    found = tiny_run(tmp_path / "run", *options, "attack.name=sign_flip", "attack.num_sites=1")
    assert found.summary["status"] == "completed"
    weights = found.state.rounds[0]["weights"]
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-5)


def test_run_of_no_rounds_only_measures(tiny_run: Any, tmp_path: Path) -> None:
    found = tiny_run(tmp_path / "run", "federation.rounds=0")
    validate(found.summary)
    assert found.summary["status"] == "completed"
    assert replace(found.state, sites={}).rounds == []
    for site in found.summary["sites"].values():
        assert site["metrics"] == site["start_metrics"]
        assert site["metrics"] is not None


def test_private_run_is_foretold_before_it_trains(tiny_run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """With the bands of its sites alone, and again where it is gone on with."""
    told: list[str] = []
    monkeypatch.setattr(QuietWatcher, "foretold", lambda _, sentence: told.append(sentence))
    monkeypatch.setattr(QuietWatcher, "round_opened", lambda *_: told.append("round"))
    finished = tiny_run(tmp_path, "privacy.epsilon=6")
    validate(finished.summary)
    bands = [site["patients_band"] for site in finished.summary["sites"].values()]
    found = forecast(finished.config, bands)
    assert found is not None
    assert finished.summary["forecast"] == found.as_json()
    assert told[:2] == [found.sentence, "round"]


def test_hopeless_run_is_refused_before_anything_is_trained(tiny_run: Any, tmp_path: Path) -> None:
    said = r"^policy\.refuse_hopeless: the noise of epsilon 0\.05 drowns .* patients it no longer would; or set it to"
    with pytest.raises(PolicyRefusal, match=said):
        tiny_run(tmp_path, "privacy.epsilon=0.05", "policy.refuse_hopeless=true")
    assert PolicyRefusal.exit_code == 3
    assert not (tmp_path / "checkpoint").exists()
    assert not (tmp_path / "ledgers").exists()


def test_open_run_has_no_forecast(finished_run: Any) -> None:
    assert finished_run.summary["forecast"] is None
