"""From the folder of a run that has ended to a model's folder (`common/model/form.py`), whole or not at all.

What is in a run folder and must not leave with the model is not copied: the checkpoint's record of each site, ledgers,
logs, the server's state, examples, paths of this machine. Of a run that was signed, the manifest and the summary that
it lists go along, so that the signature can be checked.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from common.config.schema import RunConfig
from common.encoders.hub_backbone import loaded_files
from common.encoders.interface import Encoder
from common.encoders.public_fit import FrozenPart, fresh_model, split_frozen
from common.encoders.registry import ENCODERS
from common.errors import AdmissionError, CheckpointError, TrustError
from common.evidence.manifest import MANIFEST_FILE
from common.files import sha256_of_file
from common.model.folder import refuse_taken, written_whole
from common.model.form import (
    CARD_FILE,
    CARD_PAGE,
    CONFIG_FILE,
    EVIDENCE_FOLDER,
    FORM_FILE,
    IMAGE_BACKBONE,
    RELEVANCE_FILE,
    REPORT_BACKBONE,
    WEIGHTS_FILE,
    ModelForm,
    without_paths,
)
from common.model.golden import write_golden
from common.model.graphs import check_installed, write_graphs
from common.model.load import feature_names, load_model
from common.model.relevance import parsed_relevance
from common.model.verify import KEY_FILE, check_signature
from common.model.weights import named_weights
from common.retrieval.relevance import Relevance
from common.wire.update import arrays_digest, load_into, to_safetensors
from server.model.card import card_of, card_page
from server.model.ended_run import EndedRun
from server.report.summary import SUMMARY_FILE

LICENCE = "not stated; ask who gave you the model"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model's folder that was written.

    Attributes:
        folder: Where.
        digest: The model's.
        card: Its card.
    """

    folder: Path
    digest: str
    card: dict[str, Any]


def export_model(run: EndedRun, folder: Path, *, licence: str = LICENCE, graphs: bool = False) -> Exported:
    """Write the model that a run stands for.

    Args:
        run: The run.
        folder: Where, a new folder.
        licence: Under which the model is given.
        graphs: Whether to write both towers as ONNX too.

    Raises:
        CheckFailed: A graph does not do what the model does.
        CheckpointError: The run's arrays are not those of its config.
        ConfigError: The folder is there already, or the encoder or ONNX is not installed.
        TrustError: The weights are not those that were signed.
        OSError: The disk refuses it; nothing is left.
    """
    if graphs:
        check_installed()
    refuse_taken(folder)
    encoder = ENCODERS.load(run.config.encoder.name)(run.config.encoder)
    frozen = _frozen(run, encoder)
    with written_whole(folder) as temporary:
        (temporary / WEIGHTS_FILE).write_bytes(to_safetensors(named_weights(frozen, run.trained)))
        _copy_backbones(run.config, temporary)
        form = form_of(run.config, encoder, weights=sha256_of_file(temporary / WEIGHTS_FILE))
        (temporary / FORM_FILE).write_bytes(form.as_bytes())
        relevance = _copy_relevance(run, temporary)
        card = card_of(run, digest=form.digest, licence=licence, relevance=relevance)
        _write_json(temporary / CARD_FILE, card)
        (temporary / CARD_PAGE).write_text(card_page(card), encoding="utf-8")
        _write_json(temporary / CONFIG_FILE, public_config(run.config))
        _copy_evidence(run, temporary)
        if relevance is not None and relevance.model != arrays_digest(run.trained):
            path = run.folder / RELEVANCE_FILE
            raise CheckpointError(f"{path}: is of another model than the run stands for; resume the run")
        model = load_model(temporary)
        write_golden(model, temporary)
        if graphs:
            write_graphs(model, temporary)
    return Exported(folder=folder, digest=form.digest, card=card)


def form_of(config: RunConfig, encoder: Encoder, *, weights: str) -> ModelForm:
    """The form of a run's model.

    Args:
        config: The run's configuration.
        encoder: Its encoder.
        weights: SHA-256 of the weights' file.
    """
    image, report = feature_names(encoder)
    return ModelForm(
        encoder=without_paths(config.encoder),
        bit_width=config.code.bit_width,
        num_centres=config.code.num_centres,
        pixel_bits=config.data.pixel_bits,
        allow_burned_in=config.data.allow_burned_in,
        image_features=image,
        report_features=report,
        weights=weights,
    )


def public_config(config: RunConfig) -> dict[str, Any]:
    """The configuration without the paths of the machine that ran it."""
    return asdict(replace(config, encoder=without_paths(config.encoder), data=replace(config.data, root="")))


def _frozen(run: EndedRun, encoder: Encoder) -> FrozenPart:
    """The frozen part of the first model; the final one is checked to be of its form.

    Raises:
        CheckpointError: The arrays are of another form.
    """
    whole = fresh_model(encoder, run.config)
    try:
        load_into(whole, run.first)
        frozen, dual = split_frozen(whole)
        load_into(dual, run.trained)
    except AdmissionError as error:
        raise CheckpointError(f"{run.folder}: its models are not those of its config.yaml ({error})") from error
    return frozen or FrozenPart(nn.Identity(), nn.Identity())


def _copy_backbones(config: RunConfig, folder: Path) -> None:
    if config.encoder.name != "hub":
        return
    sources = {IMAGE_BACKBONE: config.encoder.image_path, REPORT_BACKBONE: config.encoder.report_path}
    for name, source in sources.items():
        (folder / name).mkdir()
        for path in loaded_files(Path(source).expanduser()):
            shutil.copyfile(path, folder / name / path.name)


def _copy_relevance(run: EndedRun, folder: Path) -> Relevance | None:
    """How sure the model's hits are, as the run left it; None of a run that an older wardround made.

    Raises:
        CheckpointError: It is damaged.
    """
    path = run.folder / RELEVANCE_FILE
    if not path.is_file():
        return None
    try:
        relevance = parsed_relevance(path)
    except TrustError as error:
        raise CheckpointError(f"{error}, or resume the run") from error
    shutil.copyfile(path, folder / RELEVANCE_FILE)
    return relevance


def _copy_evidence(run: EndedRun, folder: Path) -> None:
    """What is signed of the run, where it is, and checked against the weights that were written.

    Raises:
        TrustError: The weights are not those that were signed.
    """
    if run.signer is None:
        return
    evidence = folder / EVIDENCE_FOLDER
    for name in (MANIFEST_FILE, Path(SUMMARY_FILE)):
        (evidence / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.folder / name, evidence / name)
    (evidence / KEY_FILE).write_bytes(run.signer.pem)
    check_signature(folder)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
