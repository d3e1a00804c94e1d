"""`wardround site check`: what it prints, its exit codes, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import wardround
from client.data.identity import dataset_digest
from client.ledger.ledger import Ledger
from client.policy.site_config import load_site_config
from client.store.store import StudyStore
from common.config.load import config_as_yaml, config_digest, load_config, read_run_config
from common.config.schema import RunConfig
from common.ledger.entries import HELD_OUT, TRAINING, Account, Budget
from common.privacy.accountant import epsilon_of
from common.privacy.plan import privacy_plan
from common.trust.keys import SigningKey
from tests.client.data.trees import write_picture, write_text

ROOT = Path(wardround.__file__).parent
PACK = Path(os.environ.get("WARDROUND_DATA", ROOT.parent / "shared" / "data")) / "medpix2"
GOOD = 30
BAND = "16-31"
"""Band of the 24 training patients of 30."""


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Check = Callable[..., Ended]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["wardround", "site", "check", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def site_file(site_yaml: dict[str, Any], write_site: Callable[..., Path], write_studies: Callable[..., Path]) -> Path:
    """A hospital that is ready for the run of `run_file`."""
    write_studies(GOOD)
    site_yaml["budget"]["delta"] = 1e-3
    return write_site(site_yaml)


@pytest.fixture
def open_i_tree(tmp_path: Path) -> Path:
    """Thirty reports of two images each in the published form, and five without an image."""
    root = tmp_path / "open-i"
    for number in range(GOOD + 5):
        images = [f"CXR{number}_IM-{view}" for view in (1, 2)] if number < GOOD else []
        for view, image in enumerate(images):
            write_picture(root / "NLMCXR_png" / f"{image}.png", 100 * view + number)
        write_text(
            root / "ecgen-radiology" / f"{number}.xml",
            f'<eCitation><uId id="CXR{number}"/><AbstractText Label="FINDINGS">Number {number}.</AbstractText>'
            + "".join(f'<parentImage id="{image}"/>' for image in images)
            + "</eCitation>",
        )
    return root


def edit(path: Path, section: str, **changes: object) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content[section] = content.get(section, {}) | changes
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def spend(site_file: Path, run: RunConfig, *, rounds: int, name: str = "chest") -> float:
    """Reserve some rounds of a run in the hospital's ledger, as a site does; returns their epsilon."""
    plan = privacy_plan(run, BAND)
    assert plan is not None
    state = site_file.parent / "state"
    state.mkdir(exist_ok=True)
    key = state / "site_key.pem"
    budget = Budget(epsilon=1000.0, delta=1e-3)
    signing = SigningKey.load(key) if key.exists() else SigningKey.create(key)
    account = Account(dataset_digest=dataset_digest(site="north", name=name), cohort=TRAINING)
    with Ledger.open(state / "ledger.sqlite3", site="north", key=signing, budget=budget) as ledger:
        for number in range(rounds):
            ledger.reserve(account, run="0" * 64, round_number=number + 1, release="update", event=plan.event)
    return epsilon_of([plan.event] * rounds, delta=1e-3)


def files_under(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ready_site_passes_and_nothing_is_written(check: Check, site_file: Path, run_file: Path) -> None:
    before = files_under(site_file.parent)
    ended = check("--config", site_file, "--run", run_file)
    assert (ended.code, ended.err) == (0, "")
    assert "fine: nothing stands against this run" in ended.out
    assert "refuses" not in ended.out
    assert files_under(site_file.parent) == before


def test_pictures_are_the_one_file_that_is_written(check: Check, site_file: Path) -> None:
    before = files_under(site_file.parent)
    sheet = site_file.parent / "sheet.png"
    assert check("--config", site_file, "--pictures", sheet).code == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert files_under(site_file.parent).keys() - before.keys() == {sheet}


def test_tables_fit_eighty_columns_and_say_the_figures(check: Check, site_file: Path, run_file: Path) -> None:
    edit(site_file, "training", losses=[], config_digests=["ab" * 32])
    out = check("--config", site_file, "--run", run_file).out
    digest_line = f"Digest of this run's config: {config_digest(read_run_config(run_file))}"
    assert digest_line in out
    assert all(len(line) <= 80 for line in out.splitlines() if line != digest_line)
    for words in (
        f"{GOOD} of {GOOD} patients",
        "24 train, 6 held out",
        f"{BAND}: what the server learns of it",
        "spent (no ledger yet)",
        "loss anchor_contrast is not one of []",
    ):
        assert words in out


def test_json_is_one_object_that_agrees_with_the_tables(check: Check, site_file: Path, run_file: Path) -> None:
    ended = check("--config", site_file, "--run", run_file, "--json")
    found = ended.json
    assert ended.code == 0
    assert (found["data"]["num_studies"], found["data"]["patients_band"], found["problems"]) == (GOOD, BAND, [])
    assert all(verdict["passes"] for verdict in found["run"]["verdicts"])
    assert found["budget"]["has_ledger"] is False
    assert [cohort["cohort"] for cohort in found["budget"]["cohorts"]] == [TRAINING, HELD_OUT]
    assert all(cohort["spent"] == 0 and cohort["refusal"] is None for cohort in found["budget"]["cohorts"])


def test_without_a_run_only_data_and_budget_are_shown(check: Check, site_file: Path) -> None:
    ended = check("--config", site_file, "--json")
    assert (ended.code, ended.json["run"], ended.json["budget"]["cohorts"][0]["after"]) == (0, None, 0)
    assert "fine: nothing stands against the data" in check("--config", site_file).out


def test_refusing_rule_ends_with_three_and_is_named(check: Check, site_file: Path, run_file: Path) -> None:
    edit(site_file, "training", devices=["cuda*"], encoders=[])
    ended = check("--config", site_file, "--run", run_file)
    assert ended.code == 3
    assert ended.err == f"wardround: {site_file}: the policy refuses this run: encoder, device\n"
    assert "add it to training.devices" in " ".join(ended.out.split())


def test_forecast_is_said_with_what_is_known_of_the_others(check: Check, site_file: Path, run_file: Path) -> None:
    said = check("--config", site_file, "--run", run_file, "--json").json["forecast"]
    assert f"of {BAND} patients each" in said["sentence"]
    known = check("--config", site_file, "--run", run_file, "--bands", f"{BAND},16-31,2048-4095")
    assert known.code == 0
    assert "Forecast: " in known.out
    assert "of 3 hospitals" in " ".join(known.out.split())
    others = check("--config", site_file, "--run", run_file, "--bands", "2048-4095")
    assert (others.code, f"this hospital's is {BAND}; add it" in others.err) == (2, True)


def test_hopeless_run_ends_with_three_and_the_remedy(check: Check, site_file: Path, run_file: Path) -> None:
    edit(site_file, "training", refuse_hopeless=True, config_digests=["any"])
    run = read_run_config(run_file)
    run.privacy.epsilon = 1.0
    run_file.write_text(config_as_yaml(run), encoding="utf-8")
    ended = check("--config", site_file, "--run", run_file, "--bands", BAND)
    assert ended.code == 3
    (line,) = ended.err.splitlines()
    assert line.startswith(
        f"wardround: {site_file}: the policy refuses this run: forecast: the noise of epsilon 1 drowns"
    )
    assert line.endswith("patients it no longer would; or set training.refuse_hopeless=false")
    assert "or set training.refuse_hopeless=false" in " ".join(ended.out.split())


def test_hours_are_judged_at_the_time_given(check: Check, site_file: Path, run_file: Path) -> None:
    edit(site_file, "training", hours="22:00-06:00")
    assert check("--config", site_file, "--run", run_file, "--at", "23:30").code == 0
    assert check("--config", site_file, "--run", run_file, "--at", "12:00").code == 3
    assert "write HH:MM" in check("--config", site_file, "--at", "noon").err


def test_budget_adds_up_what_the_ledger_holds(
    check: Check, site_file: Path, run_file: Path, run_config: RunConfig
) -> None:
    spent = spend(site_file, run_config, rounds=2)
    before = files_under(site_file.parent)
    training, held_out = check("--config", site_file, "--run", run_file, "--json").json["budget"]["cohorts"]
    assert training["spent"] == pytest.approx(spent)
    assert training["cost"] == pytest.approx(spent)
    assert spent < training["after"] < 2 * spent
    assert training["remaining"] == pytest.approx(20 - training["after"])
    # Pure epsilon composed: all releases of a run together spend evaluation.epsilon, and a little less at delta.
    assert 0.9 < held_out["cost"] <= 1.0 == run_config.evaluation.epsilon
    assert (held_out["spent"], held_out["after"]) == (0, held_out["cost"])
    assert files_under(site_file.parent) == before


def test_budget_that_does_not_cover_the_run_ends_with_three(
    check: Check, site_file: Path, run_file: Path, run_config: RunConfig
) -> None:
    spent = spend(site_file, run_config, rounds=2)
    edit(site_file, "budget", epsilon=spent * 1.1, epsilon_per_run=spent * 1.05)
    ended = check("--config", site_file, "--run", run_file)
    assert ended.code == 3
    assert "the budget does not cover this run: train patients: epsilon" in ended.err
    assert "refuses: train patients" in ended.out


def test_held_out_patients_can_refuse_a_run_too(check: Check, site_file: Path, tmp_path: Path) -> None:
    # Little is asked of the training patients, and too much of the held-out ones.
    run = load_config(["privacy.epsilon=1", "evaluation.epsilon=15", "evaluation.least_group=20"])
    edit(site_file, "budget", epsilon=10.0, epsilon_per_run=10.0)
    edit(site_file, "training", config_digests=["any"])
    edit(site_file, "update", most_values=20_000, most_bytes=80_000)
    path = tmp_path / "loud.yaml"
    path.write_text(config_as_yaml(run), encoding="utf-8")
    ended = check("--config", site_file, "--run", path)
    assert ended.code == 3
    assert "the budget does not cover this run: held_out patients: epsilon" in ended.err


def test_added_study_does_not_begin_the_budget_anew(
    check: Check, site_file: Path, run_config: RunConfig, write_studies: Callable[..., Path]
) -> None:
    spent = spend(site_file, run_config, rounds=1)
    before = check("--config", site_file, "--json").json
    write_studies(GOOD + 1)
    after = check("--config", site_file, "--json").json
    assert before["data"]["content_digest"] != after["data"]["content_digest"]
    assert [found["budget"]["cohorts"][0]["spent"] for found in (before, after)] == [pytest.approx(spent)] * 2


def test_other_data_in_the_ledger_are_pointed_out(check: Check, site_file: Path, run_config: RunConfig) -> None:
    spend(site_file, run_config, rounds=1, name="chest-renamed")
    assert "other data sets in the ledger: 1" in check("--config", site_file).out
    assert check("--config", site_file, "--json").json["budget"]["num_other_data"] == 1


def test_damaged_ledger_ends_with_four(check: Check, site_file: Path, run_config: RunConfig) -> None:
    spend(site_file, run_config, rounds=2)
    with closing(sqlite3.connect(site_file.parent / "state" / "ledger.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM entries WHERE sequence = 3")
    ended = check("--config", site_file)
    assert ended.code == 4
    assert "entry 3" in ended.err


def test_data_that_are_not_ready_end_with_two(
    check: Check, site_file: Path, run_file: Path, write_studies: Callable[..., Path]
) -> None:
    write_studies(GOOD, *[(f"b{n}", f"pb{n}", "gone.png", "text", "F", "40") for n in range(12)])
    edit(site_file, "training", losses=[])
    ended = check("--config", site_file, "--run", run_file)
    assert ended.code == 2
    assert "28.6% of the rows cannot be read" in ended.err
    assert "and 2 more; --json lists all" in ended.out
    assert len(check("--config", site_file, "--json").json["data"]["bad_rows"]) == 12


def test_delta_above_the_bands_ends_with_two(check: Check, site_file: Path) -> None:
    edit(site_file, "budget", delta=0.01)
    ended = check("--config", site_file)
    assert ended.code == 2
    assert "budget.delta=0.01 is above 3.2e-03" in ended.err


def test_run_without_privacy_is_refused_and_costs_nothing(check: Check, site_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "open.yaml"
    path.write_text(config_as_yaml(load_config(["privacy.epsilon=null"])), encoding="utf-8")
    ended = check("--config", site_file, "--run", path, "--json")
    assert (ended.code, ended.json["budget"]["cohorts"][0]["cost"]) == (3, 0)
    assert "private training" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "none.yaml"], "none.yaml: cannot be read"),
        (["--cfg", "x"], "No such option"),
        ([], "Missing option"),
    ],
)
def test_wrong_use_ends_with_two(check: Check, arguments: list[str], said: str) -> None:
    ended = check(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_run_file_that_is_no_config_ends_with_two(check: Check, site_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.yaml"
    path.write_text("seed: 1\n", encoding="utf-8")
    ended = check("--config", site_file, "--run", path)
    assert (ended.code, "has no value" in ended.err) == (2, True)


@pytest.mark.skipif(not (PACK / "metadata.csv").is_file(), reason="the medpix2 pack is absent; set WARDROUND_DATA")
def test_real_pack_is_examined_in_a_process_of_its_own(site_file: Path) -> None:
    edit(site_file, "data", adapter="medpix2", root=str(PACK), split="split_1")
    edit(site_file, "budget", delta=1e-4)
    command = [
        sys.executable,
        "-c",
        "import wardround; wardround.main()",
        "site",
        "check",
        "--config",
        site_file,
        "--json",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    data = json.loads(ended.stdout)["data"]
    assert data["num_studies"] + data["unpaired"]["without_report"] == 2050
    assert data["bad_rows"] == []
    assert (data["num_on_two_sides"], data["num_repeated"], data["patients_band"]) == (0, 0, "256-511")


def test_public_layout_is_examined_with_its_unpaired_studies(check: Check, site_file: Path, open_i_tree: Path) -> None:
    edit(site_file, "data", adapter="open_i", root=str(open_i_tree))
    ended = check("--config", site_file)
    assert ended.code == 0, ended.err
    assert "30 of 30 patients" in ended.out
    assert "0 without report, 5 without image" in ended.out
    assert "unpaired studies are trained on where a run's loss.name names unpaired" in " ".join(ended.out.split())
    data = check("--config", site_file, "--json").json["data"]
    assert (data["unpaired"]["without_image"], data["bad_rows"], data["problems"]) == (5, [], [])


# What is prepared


def test_deep_check_reads_what_is_prepared_and_names_a_file_that_rotted(
    check: Check, site_file: Path, run_config: RunConfig, tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "studies", tmp_path / "public")
    edit(site_file, "anchors", root="public")
    assert "Nothing is prepared yet" in check("--config", site_file, "--deep").out
    list(StudyStore(load_site_config(site_file), run_config.encoder).prepare())
    found = check("--config", site_file, "--deep", "--json").json["prepared"]
    assert [(one["num_studies"], one["num_public"]) for one in found] == [(GOOD, GOOD)]
    (images,) = (tmp_path / "state" / "prepared").glob("*.images.npy")
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    assert check("--config", site_file).code == 0, "nothing is prepared for it, and nothing of it is read"
    rotten = check("--config", site_file, "--deep")
    assert rotten.code == 2
    assert f"{images.name}: is not what was written; delete it, and run" in " ".join(rotten.err.split())
