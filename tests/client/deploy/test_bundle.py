"""`wardround bundle`: a simulation's own first model, and no run that no hospital could take."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wardround
from client.data.anchor_folder import AnchorFolder, digest_of_anchors
from client.deploy.bundle import build_bundle
from client.policy.site_config import anchor_folder, load_site_config
from common.bundle import Bundle, bundle_of, read_bundle
from common.code_digest import code_digest
from common.config.load import config_as_yaml, config_digest, load_config
from common.errors import ConfigError, DataError
from common.wire.update import model_arrays, to_safetensors
from server.model.ended_run import PUBLIC_MODEL_FILE
from simulations.scenarios.simulate import Clock, prepare
from tests.client.deploy.hospital import Cohort, Hospital, copy_studies, read_rows

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("trainable", ["heads", "lora", "all"])
def test_models_are_those_of_a_simulation_bit_by_bit(
    trainable: str, cohort: Cohort, tmp_path: Path, quiet_watcher: Any
) -> None:
    config = load_config(cohort.overrides(f"encoder.trainable={trainable}"))
    kept = tmp_path / PUBLIC_MODEL_FILE
    consortium, start = prepare(config, Clock(quiet_watcher), kept=kept)
    found = bundle_of(cohort.bundle(f"encoder.trainable={trainable}"))
    assert found.model == kept.read_bytes()
    assert found.start == to_safetensors(model_arrays(start))
    assert found.anchors == consortium.anchors_digest
    assert found.run == config_digest(config)


def test_bundle_says_what_it_was_made_with(bundle: Bundle, cohort: Cohort) -> None:
    assert bundle.code == code_digest()
    assert bundle.anchors == digest_of_anchors(AnchorFolder(root=cohort.public, adapter="manifest"))
    assert set(bundle.facts.versions) == {"wardround", "flwr", "numpy", "torch"}


def test_same_run_gives_the_same_bytes(cohort: Cohort, content: bytes) -> None:
    assert cohort.bundle() == content


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("attack.name=sign_flip", r"attack\.name=sign_flip: is for simulations"),
        ("data.merged_sites=3", r"data\.merged_sites=3: is for simulations"),
        ("privacy.epsilon=null", r"privacy\.epsilon: null"),
        ("evaluation.epsilon=null", r"evaluation\.epsilon: null"),
        ("loss.name=in_batch", r"loss\.name: this loss reads other patients"),
        ("privacy.calibrate=true", "--bands"),
    ],
)
def test_run_that_no_hospital_could_take_is_refused_before_anything_is_read(
    cohort: Cohort, override: str, said: str
) -> None:
    config = load_config(cohort.overrides(override))
    with pytest.raises(ConfigError, match=said):
        build_bundle(config, AnchorFolder(root=Path("nowhere"), adapter="none"), bands=(), progress=lambda _: None)


def test_calibrated_run_holds_the_settings_that_were_found(cohort: Cohort) -> None:
    config = load_config(cohort.overrides("privacy.calibrate=true"))
    folder = AnchorFolder(root=cohort.public, adapter="manifest")
    made = build_bundle(config, folder, bands=("32-63", "32-63"), progress=lambda _: None)
    found = bundle_of(made.content)
    assert not found.config.privacy.calibrate
    assert found.config.training.steps_per_round == 50  # a hundred steps over two rounds
    assert found.run == config_digest(found.config) != config_digest(config)


def test_folder_without_public_studies_is_refused(cohort: Cohort) -> None:
    folder = AnchorFolder(root=cohort.public, adapter="manifest", site_column="scanner")
    with pytest.raises(DataError, match="holds no public study"):
        build_bundle(load_config(cohort.overrides()), folder, bands=(), progress=lambda _: None)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wardround", "bundle", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


def test_command_writes_the_bundle_with_overrides(command: Command, cohort: Cohort, tmp_path: Path) -> None:
    run, out = tmp_path / "run.yaml", tmp_path / "run.bundle"
    run.write_text(config_as_yaml(load_config(cohort.overrides())))
    code, said, err = command(
        "--config", run, "--anchors", cohort.public, "--out", out, "--json", "seed=5", "federation.rounds=3"
    )
    assert code == 0, err
    found = read_bundle(out)
    assert json.loads(said)["bundle"] == found.hash
    assert found.config == load_config(cohort.overrides("seed=5", "federation.rounds=3"))


def test_command_says_what_is_foretold_of_the_bands(command: Command, cohort: Cohort, tmp_path: Path) -> None:
    run, out = tmp_path / "run.yaml", tmp_path / "run.bundle"
    run.write_text(config_as_yaml(load_config(cohort.overrides())))
    arguments = ("--config", run, "--anchors", cohort.public, "--out", out)
    _, said, _ = command(*arguments)
    assert "Forecast: needs the bands of all sites; see --bands." in said
    _, said, _ = command(*arguments, "--bands", "32-63,64-127")
    (line,) = (line for line in said.splitlines() if line.startswith("Forecast"))
    assert "of 2 hospitals" in line
    bundled = out.read_bytes()
    _, said, _ = command(*arguments, "--bands", "32-63,64-127", "--json")
    assert json.loads(said)["forecast"]["sentence"] == line
    assert out.read_bytes() == bundled


def test_command_takes_public_studies_by_a_split(command: Command, cohort: Cohort, tmp_path: Path) -> None:
    run, out = tmp_path / "run.yaml", tmp_path / "run.bundle"
    run.write_text(config_as_yaml(load_config(cohort.overrides())))
    code, said, err = command("--config", run, "--anchors", cohort.whole, "--split", "fixed", "--out", out)
    assert code == 0, err
    assert read_bundle(out) == bundle_of(cohort.bundle())
    assert read_bundle(out).hash in said.replace(" ", "")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["privacy.epsilon=null"], "privacy.epsilon: null"),
        (["privacy.epsilom=3"], "unknown key"),
        (["--bands", "3-4"], "--bands 3-4: not a band"),
    ],
)
def test_command_refuses_in_one_line(
    command: Command, cohort: Cohort, tmp_path: Path, more: list[str], said: str
) -> None:
    run, out = tmp_path / "run.yaml", tmp_path / "run.bundle"
    run.write_text(config_as_yaml(load_config(cohort.overrides())))
    code, _, err = command("--config", run, "--anchors", cohort.public, "--out", out, *more)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_public_folder_without_a_site_column_is_public_as_a_whole_and_alike_at_a_hospital(
    cohort: Cohort, hospital: Hospital, tmp_path: Path
) -> None:
    rows = [{name: value for name, value in row.items() if name != "site"} for row in read_rows(cohort.public)]
    folder = copy_studies(cohort.public, tmp_path / "public", rows)
    own = AnchorFolder(root=folder, adapter="manifest", alone=True)
    made = build_bundle(load_config(cohort.overrides()), own, bands=(), progress=lambda _: None)
    hospital.edit("anchors", root=str(folder))
    assert digest_of_anchors(anchor_folder(load_site_config(hospital.site_file))) == made.facts.anchors
    assert made.num_anchors + made.num_validated == len(rows)


def test_studies_of_a_hospital_are_never_public_because_their_table_names_no_site(
    cohort: Cohort, hospital: Hospital
) -> None:
    rows = [{n: v for n, v in row.items() if n != "site"} for row in read_rows(hospital.folder / "studies")]
    copy_studies(cohort.whole, hospital.folder / "studies", rows)
    hospital.edit("anchors", root="")
    with pytest.raises(DataError, match="holds no public study"):
        digest_of_anchors(anchor_folder(load_site_config(hospital.site_file)))


def test_centre_without_the_hospitals_device_makes_their_bundle(cohort: Cohort) -> None:
    bundle = bundle_of(cohort.bundle("device=cuda:63"))
    assert bundle.config.device == "cuda:63"
    with pytest.raises(ConfigError, match="device=tpu9: no such device"):
        cohort.bundle("device=tpu9")
