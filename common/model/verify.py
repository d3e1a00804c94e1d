"""What a model's folder proves by itself: its files, the signature of its run, and that it still makes its codes.

1. Each file is the one that was listed, and there is no other.
2. Where the run was signed: the server signed the run's summary, and the weights are those that the summary names; how
   sure a hit is stands in the folder as it was signed.
3. The model loads.
4. It makes of its example the code that it made when it was exported.
5. How sure a hit is, where the folder tells it, was measured with these weights.

Without a signature, who changes a file can change the list as well: compare the folder's digest with the one that its
maker names. The frozen part of the towers is public, and is covered by that digest alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import TrustError
from common.evidence.manifest import Manifest, read_manifest
from common.files import sha256_of_file
from common.model.folder import check_files
from common.model.form import EVIDENCE_FOLDER, RELEVANCE_FILE, REMEDY, WEIGHTS_FILE
from common.model.golden import check_golden
from common.model.load import load_model
from common.model.relevance import read_relevance
from common.model.weights import TRAINED, below
from common.trust.keys import PublicKey
from common.wire.update import NamedArrays, arrays_digest, from_safetensors

SUMMARY_FILE, KEY_FILE = "summary.json", "server.pem"
"""In the evidence folder, beside `checkpoint/manifest.json`."""
START = "start"


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What is signed.

    Attributes:
        key: Who signed, in hexadecimal.
        run: Digest of the run's configuration.
        covers_weights: Whether the trained weights are those of the signed summary; not where the run stands for its
            public start, which was public before.
    """

    key: str
    run: str
    covers_weights: bool


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A model whose folder holds.

    Attributes:
        digest: The model's, of everything that makes codes.
        folder_digest: SHA-256 of the list of all files.
        bit_width: Bits of a code.
        signed: What is signed; None where the run was not.
        key_known: Whether the signer's key was given from elsewhere.
        tells_how_sure: Whether it has a probability for hits, from public studies.
    """

    digest: str
    folder_digest: str
    bit_width: int
    signed: Signed | None
    key_known: bool
    tells_how_sure: bool


def verify_model(folder: Path, *, known: Sequence[PublicKey] = ()) -> Verified:
    """Check a model's folder.

    Args:
        folder: As `wardround model export` wrote it.
        known: Keys that may have signed, from elsewhere than the folder; where there are any, one of them must have.

    Raises:
        ConfigError: The folder holds no model, or the packages with its frozen networks are not installed.
        TrustError: Something does not hold; it is named.
    """
    folder_digest = check_files(folder)
    signed = check_signature(folder, known=known)
    model = load_model(folder)
    check_golden(model, folder)
    relevance = read_relevance(folder)
    if relevance is not None and relevance.model != arrays_digest(_trained(folder)):
        raise TrustError(f"{folder / RELEVANCE_FILE}: was measured with another model; {REMEDY}")
    return Verified(
        digest=model.digest,
        folder_digest=folder_digest,
        bit_width=model.bit_width,
        signed=signed,
        key_known=bool(known),
        tells_how_sure=relevance is not None and relevance.tells,
    )


def check_signature(folder: Path, *, known: Sequence[PublicKey] = ()) -> Signed | None:
    """What is signed of a model's run; None where nothing is, and nobody asks for it.

    Raises:
        TrustError: The signature does not hold, is by another key, or of another summary or weights.
    """
    evidence = folder / EVIDENCE_FOLDER
    if not evidence.exists():
        if known:
            raise TrustError(f"{folder}: is of a run that nobody signed, and a key was given")
        return None
    key = PublicKey.load(evidence / KEY_FILE)
    if known and key not in known:
        raise TrustError(f"{evidence / KEY_FILE}: is another key than the one given")
    manifest = read_manifest(evidence, key)
    summary = _signed_summary(evidence / SUMMARY_FILE, manifest)
    _check_relevance(folder / RELEVANCE_FILE, manifest)
    is_start = summary["published"] == START
    if not is_start:
        _check_weights(folder, summary)
    return Signed(key=key.hex, run=manifest.run, covers_weights=not is_start)


def _signed_summary(path: Path, manifest: Manifest) -> Mapping[str, Any]:
    listed = {file.name: file.sha256 for file in manifest.files}
    try:
        if listed.get(SUMMARY_FILE) != sha256_of_file(path):
            raise TrustError(f"{path}: is not the summary that was signed; {REMEDY}")
        summary: Mapping[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrustError(f"{path}: cannot be read; {REMEDY}") from error
    return summary


def _check_relevance(path: Path, manifest: Manifest) -> None:
    listed = {file.name: file.sha256 for file in manifest.files}.get(RELEVANCE_FILE)
    found = sha256_of_file(path) if path.is_file() else None
    if listed != found:
        raise TrustError(f"{path}: is not what was signed of how sure a hit is; {REMEDY}")


def _trained(folder: Path) -> NamedArrays:
    path = folder / WEIGHTS_FILE
    return below(from_safetensors(path.read_bytes(), source=str(path)), TRAINED)


def _check_weights(folder: Path, summary: Mapping[str, Any]) -> None:
    if arrays_digest(_trained(folder)) != summary["model_digest"]:
        path = folder / WEIGHTS_FILE
        raise TrustError(f"{path}: holds another model than the signed summary names; {REMEDY}")
