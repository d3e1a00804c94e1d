"""Where the studies of a run lie: the folder that its config names, or a synthetic cohort drawn for it."""

from __future__ import annotations

from pathlib import Path

from client.data.folder import StudyFolder
from client.data.rows import DEFAULT_SITE_COLUMN
from common.canonical import digest
from common.config.schema import RunConfig
from common.encoders.cache import cache_folder
from common.errors import ConfigError
from simulations.cohorts.plan import CohortPlan


def folder_of(config: RunConfig) -> StudyFolder:
    """Where the studies are; a synthetic cohort is drawn where it is not there yet."""
    data = config.data
    if data.adapter != "synthetic" and not data.root:
        raise ConfigError(f"data.root: missing; data.adapter={data.adapter} needs the folder of the studies")
    is_drawn = data.adapter == "synthetic"
    return StudyFolder(
        root=_synthetic_folder(config) if is_drawn else Path(data.root),
        adapter="manifest" if is_drawn else data.adapter,
        site_column=DEFAULT_SITE_COLUMN if is_drawn else data.site_column,
        allow_burned_in=data.allow_burned_in,
        pixel_bits=data.pixel_bits,
        same_patients=data.same_patients,
    )


def cohort_plan(config: RunConfig) -> CohortPlan:
    """The plan of a config's synthetic cohort."""
    synthetic = config.data.synthetic
    return CohortPlan(**(vars(synthetic) | {"planted": tuple(synthetic.planted)}))


def _synthetic_folder(config: RunConfig) -> Path:
    from simulations.cohorts.write import write_cohort

    plan = cohort_plan(config)
    return write_cohort(plan, cache_folder(config.encoder.cache) / "cohorts" / digest(plan.description)[:16])
