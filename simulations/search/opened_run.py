"""A simulation's run with its model loaded; what searching makes of it is kept in the run folder, for its owner alone.

RUN/search/NAME/model      the model that the run stands for, exported once
RUN/search/NAME/sites/     the hospitals' indexes (`simulations/search/hospitals.py`)

The name follows from the model: a run that was resumed to another model has another folder. Nothing else of the run
reads it, and it may be deleted. Indexes hold identifiers of studies: delete it before the run folder is given away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common.canonical import digest
from common.errors import ConfigError
from common.model import Model, load_model
from common.retrieval.paired import Published
from server.model.ended_run import EndedRun, read_ended_run

SEARCH_FOLDER = "search"
_NAME_DIGITS = 16
_MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class OpenedRun:
    """A run of a simulation, open for searching.

    Attributes:
        ended: What the run left.
        model: The model that it stands for.
        kept: Folder of what is made of the run once.
    """

    ended: EndedRun
    model: Model
    kept: Path

    @property
    def model_folder(self) -> Path:
        """Folder of the exported model."""
        return self.kept / _MODEL

    @property
    def stands_for_start(self) -> bool:
        """Whether the model is the public start, because training did harm or its result is withheld."""
        return self.ended.published is Published.START


def open_run(folder: Path) -> OpenedRun:
    """The run in a folder; its model is exported the first time.

    Raises:
        ConfigError: The folder is no run, or that of a deployment, whose studies are with its hospitals.
        CheckFailed: The run has not ended, or has failed.
        CheckpointError: A file of it is damaged.
        TrustError: What was kept is damaged.
    """
    ended = read_ended_run(folder)
    if ended.bundle is not None:
        raise ConfigError(
            f"{folder}: is a deployment's run, whose studies are with its hospitals; search from one of them: "
            "wardround site search"
        )
    name = digest([ended.summary["model_digest"], ended.summary["published"]])[:_NAME_DIGITS]
    kept = folder / SEARCH_FOLDER / name
    for made in (folder / SEARCH_FOLDER, kept):
        made.mkdir(mode=0o700, exist_ok=True)
    model = kept / _MODEL
    if not model.exists():
        from server.model.export import export_model  # here: a search of what is kept loads no exporter

        export_model(ended, model)
    return OpenedRun(ended=ended, model=load_model(model), kept=kept)
