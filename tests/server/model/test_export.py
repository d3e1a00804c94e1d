"""A run's model as a folder: the codes that the run measured, nothing private, whole or absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from flwr.cli.build import build_fab_from_files
from safetensors.numpy import load_file

from common.bundle import BundleFacts, app_files, written_bundle
from common.config.load import config_digest
from common.encoders.dual import Embedded, embed_in_batches
from common.errors import CheckFailed, CheckpointError, ConfigError, TrustError
from common.evidence.audit_log import AuditLog
from common.files import sha256_hex
from common.hashing.codes import unpack
from common.model import Encoded, load_model
from common.model.folder import written_whole
from common.model.form import CARD_FILE, CARD_PAGE, CONFIG_FILE, FILES_FILE, RELEVANCE_FILE, WEIGHTS_FILE
from common.model.relevance import read_relevance, write_relevance
from common.model.verify import verify_model
from common.retrieval.relevance import Relevance
from common.trust.keys import SigningKey
from common.wire.update import arrays_digest, load_into
from server.deploy.runs import BUNDLE_FILE
from server.model import export_cli
from server.model.ended_run import PUBLIC_MODEL_FILE, START_MODEL_FILE, read_ended_run
from server.model.export import export_model
from server.recorder import ServerRecorder
from server.report.summary import SUMMARY_FILE
from simulations.scenarios.simulate import Clock, prepare
from tests.common.encoders.hub_folders import MODELS
from tests.conftest import FinishedRun, QuietWatcher, TinyRun

TIE = 1e-5
"""A bit whose relaxed value is nearer to zero may be either: batches of other sizes round otherwise."""


def same_codes(measured: Embedded, encoded: Encoded) -> bool:
    """Whether all bits are those that the run measured."""
    bits = (measured.code >= 0).numpy()
    clear = np.abs(measured.code.numpy()) > TIE
    assert clear.mean() > 0.999
    return bool(((unpack(encoded.codes) == bits) | ~clear).all())


def held_out_of(run: FinishedRun, watcher: QuietWatcher) -> tuple[Embedded, Embedded, list[Any], list[str]]:
    """What the run's own measurement makes of its held-out studies; their pictures and reports."""
    consortium, model = prepare(run.config, Clock(watcher), kept=run.folder / PUBLIC_MODEL_FILE)
    load_into(model, run.state.arrays["model"])
    held_out = consortium.held_out(consortium.sites)
    image, report = embed_in_batches(model, held_out.images, held_out.reports)
    pictures = [consortium.pictures[row] for row in consortium.held_out_rows(consortium.sites)]
    return image, report, pictures, [record.report for record in held_out.records]


def hub_overrides(root: Path) -> list[str]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image, report = (MODELS[name](root / name) for name in ("vit", "bert"))
    paths = [f"encoder.image_path={image}", f"encoder.report_path={report}"]
    return [
        "encoder.name=hub",
        *paths,
        "encoder.embedding_dim=8",
        "encoder.trainable_blocks=1",
        "encoder.max_tokens=16",
    ]


KINDS: dict[str, Callable[[Path], list[str]]] = {
    "heads": lambda root: [],  # noqa: ARG005 - one signature
    "lora": lambda root: ["encoder.trainable=lora", "encoder.lora_rank=2"],  # noqa: ARG005
    "all": lambda root: ["encoder.trainable=all"],  # noqa: ARG005
    "hub": lambda root: [*hub_overrides(root), "encoder.trainable=lora", "encoder.lora_rank=2"],
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_exported_codes_are_those_that_the_run_measured(
    tiny_run: TinyRun, quiet_watcher: QuietWatcher, tmp_path: Path, kind: str
) -> None:
    run = tiny_run(tmp_path / "run", "federation.rounds=1", *KINDS[kind](tmp_path))
    exported = export_model(read_ended_run(run.folder), tmp_path / "model")
    for path in tmp_path.iterdir():  # nothing outside the folder is needed
        if path.name in MODELS or path.name == "run":
            path.rename(path.with_name(f"{path.name}-away"))
    moved = replace(run, folder=tmp_path / "run-away")
    model = load_model(exported.folder)
    if kind == "hub":
        for name in ("vit", "bert"):
            (tmp_path / f"{name}-away").rename(tmp_path / name)
    image, report, pictures, texts = held_out_of(moved, quiet_watcher)
    files = [tmp_path / f"{number}.png" for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        PIL.Image.fromarray(picture).save(file)
    assert same_codes(image, model.images(files))
    assert same_codes(report, model.texts(texts))
    assert np.abs(model.embed_texts(texts) - report.embedding.numpy()).max() < 1e-5


def test_codes_of_another_model_are_told_apart(
    finished_run: FinishedRun, exported_model: Path, quiet_watcher: QuietWatcher
) -> None:
    """The control of the test above: the public start gives other codes than the final model."""
    _, report, _, texts = held_out_of(finished_run, quiet_watcher)
    model = load_model(exported_model)
    load_into(model.dual, load_file(finished_run.folder / START_MODEL_FILE))
    assert not same_codes(report, model.texts(texts))


def test_export_twice_gives_the_same_bytes(finished_run: FinishedRun, exported_model: Path, tmp_path: Path) -> None:
    again = export_model(read_ended_run(finished_run.folder), tmp_path / "model").folder
    names = sorted(path.name for path in again.iterdir())
    assert names == sorted(path.name for path in exported_model.iterdir())
    assert all((again / name).read_bytes() == (exported_model / name).read_bytes() for name in names)


def test_export_holds_nothing_private(
    finished_run: FinishedRun, exported_model: Path, quiet_watcher: QuietWatcher
) -> None:
    consortium, _ = prepare(finished_run.config, Clock(quiet_watcher), kept=finished_run.folder / PUBLIC_MODEL_FILE)
    secrets = {record.patient_id for record in consortium.records} | {r.study_id for r in consortium.records}
    secrets |= {record.report for record in consortium.records}
    secrets |= {str(finished_run.folder), finished_run.config.encoder.cache, str(Path.home())}
    for path in exported_model.iterdir():
        content = path.read_bytes()
        assert [secret for secret in secrets if secret.encode() in content] == [], path.name
    card = json.loads((exported_model / CARD_FILE).read_bytes())
    assert "num_patients" not in json.dumps(card)
    kept = {name.split("/")[0] for name in load_file(exported_model / WEIGHTS_FILE)}
    assert kept == {"frozen", "trained"}
    config = json.loads((exported_model / CONFIG_FILE).read_bytes())
    assert config["data"]["root"] == config["encoder"]["cache"] == ""


def test_export_tells_how_sure_a_hit_is_as_the_run_measured_it(finished_run: FinishedRun, exported_model: Path) -> None:
    relevance = read_relevance(exported_model)
    assert relevance is not None
    assert relevance.model == finished_run.summary["model_digest"]
    assert (exported_model / RELEVANCE_FILE).read_bytes() == (finished_run.folder / RELEVANCE_FILE).read_bytes()
    assert relevance.num_patients == 20
    page = (exported_model / CARD_PAGE).read_text()
    assert f"{relevance.num_studies} public studies of 20 patients that no training saw" in page


def test_how_sure_of_another_model_is_refused_and_of_an_older_run_absent(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run.folder, tmp_path / "run"))
    write_relevance(run, Relevance(model="0" * 64, why="not measured"))
    with pytest.raises(CheckpointError, match="of another model than the run stands for"):
        export_model(read_ended_run(run), tmp_path / "model")
    (run / RELEVANCE_FILE).write_bytes(b"{")
    with pytest.raises(CheckpointError, match="is damaged"):
        export_model(read_ended_run(run), tmp_path / "model")
    assert not (tmp_path / "model").exists()
    (run / RELEVANCE_FILE).unlink()
    older = export_model(read_ended_run(run), tmp_path / "model")
    assert read_relevance(older.folder) is None
    assert not verify_model(older.folder).tells_how_sure
    assert "The run left nothing of it." in (older.folder / CARD_PAGE).read_text()


def stand_for(run: FinishedRun, folder: Path, **changes: Any) -> Path:
    """A copy of a run whose summary says something else."""
    shutil.copytree(run.folder, folder)
    summary = {**run.summary, **changes}
    (folder / SUMMARY_FILE).write_text(json.dumps(summary))
    if summary["published"] == "start":
        digest = arrays_digest(load_file(folder / START_MODEL_FILE))
        write_relevance(folder, Relevance(model=digest, why="not measured"))
    return folder


WORSE = {"recall_at_10": -0.2, "low": -0.3, "high": -0.1}
OPEN = {"recall_at_10": 0.0, "low": -0.1, "high": 0.1}


def test_run_that_did_harm_gives_its_public_start_and_exit_code_1(finished_run: FinishedRun, tmp_path: Path) -> None:
    run = stand_for(finished_run, tmp_path / "run", published="start", difference=WORSE)
    with pytest.raises(CheckFailed, match="holds the public start"):
        export_cli.export_command(run, out=tmp_path / "model")
    start = load_file(run / START_MODEL_FILE)
    weights = load_file(tmp_path / "model" / WEIGHTS_FILE)
    assert all((weights[f"trained/{name}"] == array).all() for name, array in start.items())
    assert (
        weights["trained/image_tower.linear.weight"] != finished_run.state.arrays["model"]["image_tower.linear.weight"]
    ).any()
    assert "public start" in (tmp_path / "model" / CARD_PAGE).read_text()
    (run / START_MODEL_FILE).unlink()
    with pytest.raises(CheckFailed, match="no model to publish"):
        read_ended_run(run)


@pytest.mark.parametrize(
    ("published", "difference", "says"),
    [("undecided", OPEN, "cannot be told whether it helped"), (None, None, "Nothing was measured")],
)
def test_run_that_cannot_tell_gives_its_final_model_and_the_card_says_so(
    finished_run: FinishedRun, tmp_path: Path, published: str | None, difference: Any, says: str
) -> None:
    run = stand_for(finished_run, tmp_path / "run", published=published, difference=difference)
    export_cli.export_command(run, out=tmp_path / "model")
    assert says in (tmp_path / "model" / CARD_PAGE).read_text()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "failed", "reason": "no quorum"}, "the run failed"),
        ({"rounds_completed": 1}, "has not ended, after 1 of 2 rounds"),
    ],
)
def test_run_that_has_not_ended_well_gives_nothing(
    finished_run: FinishedRun, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    run = stand_for(finished_run, tmp_path / "run", **changes)
    with pytest.raises(CheckFailed, match=says):
        export_cli.export_command(run, out=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_folder_that_is_no_ended_run_is_refused(finished_run: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the folder of a run"):
        read_ended_run(tmp_path)
    run = stand_for(finished_run, tmp_path / "run", model_digest="0" * 64)
    with pytest.raises(CheckpointError, match="of another model"):
        read_ended_run(run)
    (run / SUMMARY_FILE).unlink()
    with pytest.raises(CheckFailed, match="has not ended"):
        read_ended_run(run)


def test_export_takes_no_place_that_is_taken(finished_run: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match="is there already"):
        export_model(read_ended_run(finished_run.folder), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_export_that_is_cut_short_leaves_nothing(
    finished_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("server.model.export.write_golden", full)
    with pytest.raises(OSError, match="No space left") as found:
        export_model(read_ended_run(finished_run.folder), tmp_path / "model")
    assert found.value.filename == str(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def deployed(run: FinishedRun, folder: Path, key: SigningKey) -> Path:
    """The same run as a deployment leaves it: the first models in the bundle, manifest and log signed."""
    shutil.copytree(run.folder, folder)
    config = (folder / "config.yaml").read_bytes()
    first, start = ((folder / name).read_bytes() for name in (PUBLIC_MODEL_FILE, START_MODEL_FILE))
    for name in (PUBLIC_MODEL_FILE, START_MODEL_FILE):
        (folder / name).unlink()
    facts = BundleFacts(
        run=config_digest(run.config),
        config=sha256_hex(config),
        model=sha256_hex(first),
        start=sha256_hex(start),
        validation=sha256_hex(b""),
        anchors="0" * 64,
        code="0" * 64,
        versions={"wardround": "0.1.0"},
    )
    members = {"config": config, "model": first, "start": start, "validation": b""}
    (folder / BUNDLE_FILE).write_bytes(written_bundle(app=build_fab_from_files(app_files(facts))[0], **members))
    with AuditLog(folder.with_name(f"{folder.name}-log"), owner="centre", key=key) as log:
        recorder = ServerRecorder(
            log,
            members={},
            config=run.config,
            folder=folder,
            key=key,
            privacy=lambda band: None,  # noqa: ARG005
        )
        recorder.run_opened()
        recorder.closed(run.state, status="completed", files=[folder / SUMMARY_FILE, folder / RELEVANCE_FILE])
    return folder


def test_signature_of_the_run_covers_the_weights(
    finished_run: FinishedRun, exported_model: Path, tmp_path: Path
) -> None:
    key, other = SigningKey.fresh(), SigningKey.fresh()
    ended = read_ended_run(deployed(finished_run, tmp_path / "run", key))
    assert ended.signer == key.public
    model = export_model(ended, tmp_path / "model").folder
    found = verify_model(model, known=[key.public])
    assert found.digest == load_model(exported_model).digest, "a deployment's model is a simulation's"
    assert found.signed is not None
    assert found.signed.covers_weights
    assert found.key_known
    with pytest.raises(TrustError, match="another key"):
        verify_model(model, known=[other.public])
    tampered = {name: array + name.endswith("linear.weight") for name, array in ended.trained.items()}
    with pytest.raises(TrustError, match="holds another model than the signed summary"):
        export_model(replace(ended, trained=tampered), tmp_path / "forged")
    assert not (tmp_path / "forged").exists()


def test_signed_run_that_was_changed_gives_no_model(finished_run: FinishedRun, tmp_path: Path) -> None:
    run = deployed(finished_run, tmp_path / "run", SigningKey.fresh())
    (run / SUMMARY_FILE).write_text(json.dumps({**finished_run.summary, "seconds": 1.0}))
    with pytest.raises(TrustError, match=r"summary\.json: is not the file that was signed"):
        export_cli.export_command(run, out=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_signature_of_the_run_covers_how_sure_a_hit_is(finished_run: FinishedRun, tmp_path: Path) -> None:
    run = deployed(finished_run, tmp_path / "run", SigningKey.fresh())
    model = export_model(read_ended_run(run), tmp_path / "model").folder
    relevance = read_relevance(model)
    assert relevance is not None
    for content in (replace(relevance, num_studies=relevance.num_studies + 1), None):
        changed = tmp_path / f"changed-{content is None}"
        with written_whole(changed) as beside:  # whoever changes it may change the list of files as well
            shutil.copytree(model, beside, dirs_exist_ok=True)
            (beside / FILES_FILE).unlink()
            if content is None:
                (beside / RELEVANCE_FILE).unlink()
            else:
                write_relevance(beside, content)
        with pytest.raises(TrustError, match="is not what was signed of how sure a hit is"):
            verify_model(changed)


def test_signed_run_that_did_harm_gives_the_start_of_its_bundle(finished_run: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "harmed").mkdir()
    harmed = stand_for(finished_run, tmp_path / "harmed" / "run", published="start", difference=WORSE)
    run = deployed(replace(finished_run, folder=harmed), tmp_path / "run", SigningKey.fresh())
    found = verify_model(export_model(read_ended_run(run), tmp_path / "model").folder)
    assert found.signed is not None
    assert not found.signed.covers_weights
