"""The command: options, exit codes, one line an error, and one JSON object on standard output."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import wardround
from server.report.summary import validate

ROOT = Path(wardround.__file__).parent


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The only line of standard error."""
        (line,) = self.err.strip().splitlines()
        return line


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process."""
    for name, value in wardround.QUIET.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wardround", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


def in_own_process(*arguments: str | Path) -> Ended:
    """Runs the command as a shell would."""
    line = [sys.executable, "-c", "import wardround; wardround.main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment, timeout=120)
    return Ended(done.returncode, done.stdout, done.stderr)


def test_help_lists_the_commands_and_their_options(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert "simulate" in command("--help").out
    shown = command("simulate", "--help")
    assert shown.code == 0
    for option in ("--scenario", "--out", "--resume", "--json", "--engine", "KEY=VALUE"):
        assert option in shown.out


def test_general_help_does_not_wait_for_torch() -> None:
    script = "import sys, wardround\ntry: wardround.main()\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script, "--help"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("federation.round=3", "federation.round: unknown key; did you mean federation.rounds"),
        ("nonsense=1", "nonsense: unknown key"),
        ("federation.rounds=many", "federation.rounds=many: wrong type; it takes a whole number"),
        ("federation.rounds=-1", "federation.rounds=-1: out of range"),
        ("federation.rounds", "federation.rounds: not an override; write key=value"),
        ("encoder.name=scratsch", "encoder.name scratsch: unknown; did you mean scratch"),
        ("loss.name=in_batch", "loss.name"),
        ("attack.num_sites=9 attack.name=nan", "attack.num_sites=9: there are 3 sites"),
        ("attack.name=nann attack.num_sites=1", "attack.name=nann: unknown; did you mean nan"),
        ("aggregator.name=medan", "aggregator.name=medan: unknown; did you mean median"),
        ("aggregator.num_byzantine=1", "set it to 0, or use aggregator.name=nnm"),
        ("data.adapter=manifest", "data.root: missing"),
        ("data.adapter=dicoms data.root=x", "data.adapter=dicoms: unknown; did you mean dicom"),
    ],
)
def test_config_error_is_one_line_and_code_two(
    command: Command, tiny_overrides: list[str], tmp_path: Path, override: str, says: str
) -> None:
    ended = command("simulate", "--out", tmp_path / "run", *tiny_overrides, *override.split())
    assert ended.code == 2
    error = ended.err.strip().splitlines()[-1]
    assert error.startswith("wardround: ")
    assert says in error
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_config_error_in_an_own_process_is_nothing_but_its_line(tmp_path: Path) -> None:
    ended = in_own_process("simulate", "--out", tmp_path / "run", "federation.round=3")
    assert (ended.code, ended.out) == (2, "")
    assert ended.line.startswith("wardround: federation.round: unknown key; did you mean federation.rounds")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [("--scenario", "nothing"), ("--scenario", "baseline")])
def test_unknown_scenario_names_the_known_one(command: Command, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = command("simulate", "--out", tmp_path / "run", *arguments)
    assert ended.code == 2
    assert "baselines" in ended.line


@pytest.mark.parametrize("arguments", [("simulate", "--engine", "spark"), ("simulate", "--outt", "x"), ("simulat",)])
def test_usage_error_is_code_two(command: Command, arguments: tuple[str, ...]) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_folder_that_holds_files_is_not_written_to(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    ended = command("simulate", "--out", tmp_path)
    assert ended.code == 2
    assert f"--out {tmp_path}: holds files already" in ended.line
    assert f"--resume {tmp_path}" in ended.line
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("more", [["seed=1"], ["--scenario", "baselines"], ["--out", "elsewhere"]])
def test_resume_takes_no_other_option(command: Command, finished_run: Any, more: list[str]) -> None:
    ended = command("simulate", "--resume", finished_run.folder, *more)
    assert ended.code == 2
    assert "leave the other options out" in ended.line


def test_resume_of_a_folder_without_a_run_is_refused(command: Command, tmp_path: Path) -> None:
    ended = command("simulate", "--resume", tmp_path)
    assert ended.code == 2
    assert str(tmp_path / "config.yaml") in ended.line


def test_resume_of_a_damaged_checkpoint_is_code_one(command: Command, finished_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run.folder, folder)
    (folder / "checkpoint" / "state.safetensors").write_bytes(b"half")
    ended = command("simulate", "--resume", folder)
    assert ended.code == 1
    assert "state.safetensors: damaged" in ended.err.strip().splitlines()[-1]


def test_resume_of_an_edited_config_is_refused(command: Command, finished_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run.folder, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["training"]["learning_rate"] = 2.0
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    ended = command("simulate", "--resume", folder)
    assert ended.code == 1
    assert "belongs to a run with another config.yaml" in ended.err.strip().splitlines()[-1]


def test_json_is_one_object_on_standard_output_and_the_rest_on_standard_error(
    tiny_overrides: list[str], tmp_path: Path
) -> None:
    options = ("--out", tmp_path / "run", "--json", *tiny_overrides, "privacy.epsilon=null")
    ended = in_own_process("simulate", *options, "attack.name=raise", "attack.num_sites=1")
    assert ended.code == 0, ended.err
    summary = json.loads(ended.out)
    validate(summary)
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert "round 2 of 2: 2 of 3 sites, updated" in ended.err
    assert "dropped" in ended.err


def test_table_names_every_site_and_the_report(command: Command, finished_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run.folder, folder)
    ended = command("simulate", "--resume", folder)
    assert ended.code == 0
    assert f"Report: {folder / 'report.html'}" in ended.out
    assert all(site[:6] in ended.out for site in finished_run.summary["sites"])


def test_grid_of_attacks_ends_with_a_table_of_shares(
    command: Command, tiny_overrides: list[str], tmp_path: Path
) -> None:
    lists = ("rules=[mean,trimmed_mean]", "attacks=[nan]", "num_byzantine=[0,1]", "epsilons=[null]")
    grid = [*(f"robustness.{one}" for one in lists), "federation.rounds=1", *tiny_overrides]
    ended = command("simulate", "--scenario", "robustness", "--out", tmp_path / "run", *grid)
    assert ended.code == 0, ended.err
    assert "One of three hospitals attacks, no noise" in " ".join(ended.out.split())
    assert "kept under it" in ended.out
    assert "18 of 18: trimmed_mean against nan by 1, without privacy, seed 2" in ended.err


def test_run_of_bad_sites_alone_is_code_one(command: Command, tiny_overrides: list[str], tmp_path: Path) -> None:
    options = ("privacy.epsilon=null", "attack.name=other_keys", "attack.num_sites=3")
    ended = command("simulate", "--json", "--out", tmp_path / "run", *tiny_overrides, *options)
    assert ended.code == 1
    assert "no round changed the model" in ended.err.strip().splitlines()[-1]
    assert json.loads((tmp_path / "run" / "summary.json").read_bytes())["status"] == "failed"


def test_run_whose_model_is_served_too_badly_is_code_one_and_written_whole(
    command: Command, tiny_overrides: list[str], tmp_path: Path
) -> None:
    """Every group is to be found always: no model of two rounds does."""
    enough = ("privacy.epsilon=null", "data.test_fraction=0.5", "fairness.attributes=[sex]", "federation.rounds=1")
    options = (*tiny_overrides, *enough, "fairness.min_group_recall=1")
    ended = command("simulate", "--json", "--out", tmp_path / "run", *options)
    assert ended.code == 1
    line = ended.err.strip().splitlines()[-1]
    assert line.startswith("wardround: the model must not be published: fairness.min_group_recall fails: sex: ")
    summary = json.loads((tmp_path / "run" / "summary.json").read_bytes())
    validate(summary)
    assert json.loads(ended.out) == summary
    assert (summary["status"], summary["published"]) == ("completed", "start")
    assert line.endswith(summary["release"]["reason"])
    assert "$.release" in summary["not_private"]
    assert (tmp_path / "run" / "report.html").exists()


def test_too_many_bad_rows_name_the_file_the_row_and_the_remedy(
    command: Command, tiny_overrides: list[str], tmp_path: Path
) -> None:
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(f"s{n}", f"p{n}", f"{n}.png", "Report.") for n in range(4)]
        csv.writer(file).writerows([("study_id", "patient_id", "image_path", "report"), *rows])
    options = ("data.adapter=manifest", f"data.root={tmp_path}")
    ended = command("simulate", "--out", tmp_path / "run", *tiny_overrides, *options)
    assert ended.code == 2
    error = ended.err.strip().splitlines()[-1]
    assert "manifest.csv row 2: image file is missing" in error
    assert "data.max_bad_" in error


def test_folder_that_cannot_be_made_is_one_line(command: Command, tiny_overrides: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    ended = command("simulate", "--out", tmp_path / "file" / "run", *tiny_overrides, "privacy.epsilon=null")
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "Not a directory" in ended.err.strip().splitlines()[-1]
