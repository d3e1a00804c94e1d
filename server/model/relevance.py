"""How sure the hits of a run's model are, measured at the end of the run on the public studies that the server keeps.

It is written beside the summary, before the last manifest, which lists it: so it is signed where the run is. It is of
the model that the run stands for. Public studies and a model of released updates enter, so that it is post-processing
and costs no patient anything.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.encoders.public_fit import AnchorFeatures
from common.hashing.codes import binarise, unpack
from common.retrieval.paired import Published
from common.retrieval.relevance import Relevance
from common.retrieval.relevance_fit import relevance_of
from common.wire.update import NamedArrays, arrays_digest, load_into

NOT_KEPT = "no public validation: too few public studies, or public_fit.validation_fraction keeps none from training"
NO_LABELS = "no public validation with findings and reports: the run's bundle was made by an older wardround"
NOT_FINITE = "the model gives numbers that are not finite"


def published_arrays(summary: Mapping[str, Any], *, start: NamedArrays, final: NamedArrays) -> NamedArrays:
    """What was trained of the model that a run stands for."""
    return start if summary["published"] == Published.START else final


def measured_relevance(
    model: DualEncoder, arrays: NamedArrays, validation: AnchorFeatures | None, config: RunConfig
) -> Relevance:
    """How sure the hits of a model are, or why nobody can tell.

    Args:
        model: A model of the run's form; it is left as it is.
        arrays: What was trained of it.
        validation: The public studies that no training saw, as that model sees them; None where none are kept.
        config: The run's.

    Raises:
        AdmissionError: The arrays are not those of the model.
    """
    digest = arrays_digest(arrays)
    if validation is None or validation.labels is None:
        return Relevance(model=digest, why=NOT_KEPT if validation is None else NO_LABELS)
    measured = copy.deepcopy(model).cpu()
    load_into(measured, arrays)
    image, report = embed_in_batches(measured, validation.images.cpu(), validation.reports.cpu())
    if not bool(image.code.isfinite().all() and report.code.isfinite().all()):
        return Relevance(model=digest, why=NOT_FINITE)
    return relevance_of(
        _bits(image.code),
        _bits(report.code),
        validation.labels,
        validation.patients.numpy(),
        widths=[*config.code.nested_widths, config.code.bit_width],
        model=digest,
        seed=config.seed,
    )


def _bits(relaxed_NK: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return unpack(binarise(relaxed_NK))
