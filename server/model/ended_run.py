"""What a run that has ended left in its folder, of a simulation or of a deployment, checked before it is used.

The model that a run stands for is the one that it published (`common/retrieval/paired.py`): the final one, or its
public start where training did harm or the release gate withholds the final one. Where nobody can tell, and where
nothing was measured, it is the final one, and whoever takes it is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.bundle import Bundle, read_bundle
from common.config.load import config_digest, read_run_config
from common.config.schema import RunConfig
from common.errors import CheckFailed, CheckpointError, ConfigError
from common.evidence.log_audit import raise_first
from common.evidence.manifest import MANIFEST_FILE
from common.evidence.run_audit import audit_run, signer_of
from common.retrieval.paired import Published
from common.trust.keys import PublicKey
from common.wire.update import NamedArrays, arrays_digest, from_safetensors
from server.checkpoint import load_state
from server.deploy.runs import BUNDLE_FILE
from server.report.summary import SUMMARY_FILE, validate

CONFIG_FILE, PUBLIC_MODEL_FILE, START_MODEL_FILE = (
    "config.yaml",
    "public_model.safetensors",
    "start_model.safetensors",
)
"""Of a simulation's folder: the first model, whole, and what trains of it as it was before round one.

In a deployment both are in the bundle."""


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """A run that has ended well.

    Attributes:
        folder: Its folder.
        config: Its configuration.
        summary: As in `summary.json`.
        first: Arrays of the first model, whole.
        trained: Arrays of the part that trains, of the model that the run stands for.
        bundle: Hash of what hospitals approved; None in a simulation.
        signer: Who signed the manifest; None where nobody did.
    """

    folder: Path
    config: RunConfig
    summary: Mapping[str, Any]
    first: NamedArrays
    trained: NamedArrays
    bundle: str | None
    signer: PublicKey | None

    @property
    def published(self) -> Published | None:
        """Which model the run stands for; None where nothing was measured."""
        said = self.summary["published"]
        return None if said is None else Published(said)


def read_ended_run(folder: Path) -> EndedRun:
    """The run in a folder.

    Raises:
        ConfigError: The folder is not that of one run.
        CheckFailed: The run has not ended, has failed, or keeps nothing of its public start, for which it stands.
        CheckpointError: A file is damaged, or of another run.
        TrustError: Something that is signed does not hold.
    """
    if not (folder / CONFIG_FILE).is_file() or not (folder / "checkpoint").is_dir():
        raise ConfigError(f"{folder}: is not the folder of a run with a model; name one that holds checkpoint/")
    config, summary = read_run_config(folder / CONFIG_FILE), _summary(folder)
    signer = _signer(folder)
    final = load_state(folder, config_digest=config_digest(config)).arrays["model"]
    if arrays_digest(final) != summary["model_digest"]:
        raise CheckpointError(f"{folder / SUMMARY_FILE}: is of another model than the checkpoint; resume the run")
    bundle = read_bundle(folder / BUNDLE_FILE) if (folder / BUNDLE_FILE).exists() else None
    stands_for_start = summary["published"] == Published.START
    return EndedRun(
        folder=folder,
        config=config,
        summary=summary,
        first=_arrays(folder / PUBLIC_MODEL_FILE, None if bundle is None else bundle.model),
        trained=_start(folder, bundle) if stands_for_start else final,
        bundle=None if bundle is None else bundle.hash,
        signer=signer,
    )


def _summary(folder: Path) -> Mapping[str, Any]:
    path = folder / SUMMARY_FILE
    if not path.is_file():
        raise CheckFailed(f"{folder}: the run has not ended; go on with it, then export its model")
    try:
        summary: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path}: is damaged; restore it from a backup, or resume the run") from error
    validate(summary)
    if summary["status"] == "failed":
        raise CheckFailed(f"{folder}: the run failed ({summary['reason']}); it stands for no model")
    done, planned = summary["rounds_completed"], summary["rounds_planned"]
    if done < planned:
        raise CheckFailed(f"{folder}: the run has not ended, after {done} of {planned} rounds; go on with it first")
    return summary


def _signer(folder: Path) -> PublicKey | None:
    """Who signed the run, all of whose evidence holds; None where nobody did.

    Raises:
        WardroundError: Something of the evidence does not hold.
    """
    if not (folder / MANIFEST_FILE).exists():
        return None
    evidence = audit_run(folder)
    raise_first(evidence.findings)
    return signer_of(folder, evidence)


def _start(folder: Path, bundle: Bundle | None) -> NamedArrays:
    path = folder / START_MODEL_FILE
    if bundle is None and not path.is_file():
        raise CheckFailed(
            f"{path}: is missing, and the run stands for its public start: it was made by an older wardround, and has "
            "no model to publish"
        )
    return _arrays(path, None if bundle is None else bundle.start)


def _arrays(path: Path, bundled: bytes | None) -> NamedArrays:
    """The arrays that the bundle holds, or a file of the run folder.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    if bundled is not None:
        return from_safetensors(bundled, source=str(path.with_name(BUNDLE_FILE)))
    try:
        return from_safetensors(path.read_bytes(), source=str(path))
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); restore it, or start the run anew"
        ) from error
