"""Public studies as a gallery to be searched: the codes of a hospital's index, beside the labels that tell the answers.

Which studies are read is decided before one is encoded. Of the studies that the model's run had for public ones, those
that it kept from all training (`common/encoders/public_parts.py`), which the configuration in the model's folder says.

Shapes: G studies, I images, P bytes a code.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from client.data.anchor_folder import AnchorFolder
from client.data.features import in_batches
from client.search.build import CodeMaker
from common.config.load import config_from_json
from common.config.schema import RunConfig
from common.encoders.public_parts import kept_patients
from common.errors import ConfigError, TrustError
from common.hashing.codes import Codes
from common.model.folder import check_files
from common.model.form import CONFIG_FILE, REMEDY
from common.seeds import numpy_generator
from common.types import StudyRecord

MOST_PATIENTS = 1000
"""That are searched; of more, some are drawn by the run's seed."""
_STUDIES_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class PublicGallery:
    """Public studies, encoded.

    Attributes:
        records: Of each, G of them.
        images: Codes `[I, P]`, study by study.
        first_images: Position of the first image of each study, `[G]`.
        reports: Codes `[G, P]`.
    """

    records: tuple[StudyRecord, ...]
    images: Codes
    first_images: NDArray[np.int64]
    reports: Codes

    @property
    def patients(self) -> dict[str, int]:
        """Number of each patient."""
        return {name: at for at, name in enumerate(sorted({record.patient_id for record in self.records}))}


def run_config_in(folder: Path) -> RunConfig:
    """The configuration of the run that a model is of.

    Raises:
        ConfigError: The folder holds no model.
        TrustError: A file of it is not the one that was exported, or the configuration is of another wardround.
    """
    check_files(folder)
    try:
        return config_from_json(json.loads((folder / CONFIG_FILE).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError, ConfigError) as error:
        raise TrustError(f"{folder / CONFIG_FILE}: is missing, damaged, or of another wardround; {REMEDY}") from error


def unseen_patients(folder: AnchorFolder, config: RunConfig, *, none_was_seen: bool) -> frozenset[str]:
    """The patients whose studies no training of a model saw; `MOST_PATIENTS` of them where they are more.

    Args:
        folder: The public studies.
        config: Of the run that trained the model.
        none_was_seen: Whether they are other studies than the run's, of which none was seen.

    Raises:
        ConfigError: The run kept none.
        DataError: The folder cannot be read, or holds no public study.
    """
    patients = sorted({study.record.patient_id for study in folder.studies()})
    if not none_was_seen:
        patients = [patients[number] for number in kept_patients(len(patients), config).tolist()]
    if not patients:
        share = config.public_fit.validation_fraction
        raise ConfigError(
            f"--studies {folder.root}: the model's run kept none of its public studies from training "
            f"(public_fit.validation_fraction={share:g} of their patients); give public studies that it never had, and "
            "say so with --none-was-seen"
        )
    drawn = numpy_generator(config.seed, "relevance", "plan", "patients").permutation(len(patients))[:MOST_PATIENTS]
    return frozenset(patients[at] for at in drawn)


def encoded_gallery(folder: AnchorFolder, model: CodeMaker, patients: Collection[str]) -> PublicGallery:
    """The studies of some patients, encoded as an index is.

    Raises:
        DataError: The folder cannot be read.
    """
    records: list[StudyRecord] = []
    images: list[Codes] = []
    reports: list[Codes] = []
    first_images: list[int] = []
    num_images = 0
    kept = (study for study in folder.studies() if study.record.patient_id in patients)
    for studies in in_batches(kept, size=_STUDIES_AT_ONCE):
        views = [[study.image, *study.other_images] for study in studies]
        images.append(model.encode_images([PIL.Image.fromarray(image) for some in views for image in some]))
        reports.append(model.encode_texts([study.record.report for study in studies]))
        records += [study.record for study in studies]
        for some in views:
            first_images.append(num_images)
            num_images += len(some)
    return PublicGallery(
        records=tuple(records),
        images=np.concatenate(images),
        first_images=np.array(first_images, dtype=np.int64),
        reports=np.concatenate(reports),
    )
