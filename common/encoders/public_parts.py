"""The public studies in two parts: anchors to fit and to train with, and a validation that no training ever sees.

The validation is kept from the public fit, from the anchors' own gradient at the sites and from what sites contrast
their studies with: what a model was fitted to says nothing of whether the next step harms it. Each place parts the
studies by itself, and comes to the same parts; the server of a deployment, which has no studies, finds the validation
in the bundle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.config.schema import RunConfig
from common.encoders.public_fit import AnchorFeatures
from common.errors import TrustError
from common.retrieval.relevance_pairs import Labels
from common.seeds import torch_generator
from common.wire.update import NamedArrays

_FINDINGS, _TEXTS = "findings", "texts"
"""Of the labels, among the arrays of a bundle."""
LEAST_PATIENTS = 2
"""Of a validation: of fewer, no error can be told."""
LEAST_KEPT = 20
"""Patients that are kept at least. Fewer see only large harm, and the public fit misses them (decision 0025)."""


class PublicParts(NamedTuple):
    """The public studies, parted by patient.

    Attributes:
        anchors: What the first model is fitted to, and what sites contrast their studies with.
        validation: What the server measures the model on; None where nothing is kept for it, as of few public studies.
    """

    anchors: AnchorFeatures
    validation: AnchorFeatures | None

    @property
    def unseen(self) -> AnchorFeatures:
        """Studies that no training saw, where some are kept; else the anchors."""
        return self.anchors if self.validation is None else self.validation


def part_public(public: AnchorFeatures, config: RunConfig) -> PublicParts:
    """Part the public studies: the same studies and config give the same parts, at the server and at every site.

    Args:
        public: All public studies, sorted by the patients' names and numbered in that order.
        config: Its `public_fit.validation_fraction` says how large the share of the patients is, and its seed who they
            are. Where that were fewer than `LEAST_KEPT`, nothing is kept.
    """
    num_patients = int(public.patients.max()) + 1
    kept = kept_patients(num_patients, config)
    if not len(kept):
        return PublicParts(public, None)
    others = torch.from_numpy(np.setdiff1d(np.arange(num_patients), kept.numpy()))
    return PublicParts(public.of_patients(others), public.of_patients(kept))


def kept_patients(num_patients: int, config: RunConfig) -> Tensor:
    """Numbers of the public patients that no training sees, ascending; none where nothing is kept."""
    num_kept = round(config.public_fit.validation_fraction * num_patients)
    if num_kept < LEAST_KEPT:
        return torch.empty(0, dtype=torch.int64)
    order = torch.randperm(num_patients, generator=torch_generator(config.seed, "public-validation"))
    return order[:num_kept].sort().values


def validation_to_arrays(validation: AnchorFeatures | None) -> NamedArrays:
    """The form in a bundle; no arrays where nothing is kept."""
    if validation is None:
        return {}
    arrays = {
        "images": validation.images.cpu().numpy(),
        "reports": validation.reports.cpu().numpy(),
        "patients": validation.patients.numpy(),
    }
    if validation.labels is not None:
        arrays |= {_FINDINGS: validation.labels.findings_NF, _TEXTS: validation.labels.reports_N}
    return arrays


def validation_from_arrays(arrays: NamedArrays) -> AnchorFeatures | None:
    """What `validation_to_arrays` wrote.

    Raises:
        TrustError: The arrays are of another form.
    """
    if not arrays:
        return None
    features = arrays.keys() - {_FINDINGS, _TEXTS}
    if features != {"images", "reports", "patients"} or len({len(array) for array in arrays.values()}) != 1:
        raise TrustError("the bundle's public validation is none; ask the coordinating centre for the bundle again")
    images, reports, patients = (torch.from_numpy(arrays[name].copy()) for name in ("images", "reports", "patients"))
    numbers = np.unique(arrays["patients"])
    if patients.dtype != torch.int64 or len(numbers) < LEAST_PATIENTS or not (numbers == np.arange(len(numbers))).all():
        raise TrustError("the bundle's public validation is none; ask the coordinating centre for the bundle again")
    return AnchorFeatures(images, reports, patients, _labels(arrays))


def _labels(arrays: NamedArrays) -> Labels | None:
    """The labels among the arrays; None in a bundle of an older wardround.

    Raises:
        TrustError: The arrays are of another form.
    """
    if arrays.keys().isdisjoint({_FINDINGS, _TEXTS}):
        return None
    findings, texts = arrays.get(_FINDINGS), arrays.get(_TEXTS)
    if findings is None or texts is None or (findings.dtype, findings.ndim) != (np.dtype(bool), 2):
        raise TrustError("the bundle's public validation is none; ask the coordinating centre for the bundle again")
    if (texts.dtype, texts.ndim) != (np.dtype(np.int64), 1):
        raise TrustError("the bundle's public validation is none; ask the coordinating centre for the bundle again")
    return Labels(findings.copy(), texts.copy())
