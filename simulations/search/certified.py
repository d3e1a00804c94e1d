"""Which of the studies that an image finds surely stay among the first k of all hospitals, whatever befalls the image.

The query is then the image's smoothed code, certified by its votes (`common/hashing/certificate.py`); the noise is the
run's `certificate.deviation`, and the radius the largest of `certificate.radii`. Both are in units of what the trained
image tower sees: pixels where all of it trains, frozen features where heads train. The hospitals' codes are taken as
they stand, and of several images of a study each counts as a rival, its own others too.

Shapes: F found, N images or reports of all hospitals, K bits, P bytes a code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from client.search.handles import handle_bytes
from client.search.index import Gallery, SearchIndex
from common.config.schema import RunConfig
from common.errors import ConfigError
from common.hashing.certificate import Certificate, certify
from common.hashing.certified_search import surely_first
from common.hashing.codes import Codes, unpack
from common.hashing.hamming import hamming_distances
from common.hashing.head import head_outputs
from common.hashing.smoothing import Smoothing, cast_ballot
from common.model import Model
from common.seeds import torch_generator


def certificate_of(image: Path, model: Model, config: RunConfig, *, spread: float) -> Certificate:
    """The certificate of an image's smoothed code; wrong with probability `certificate.alpha` at most.

    Args:
        image: The picture file.
        model: Makes the code.
        config: The run's; the noise is public and follows from its seed.
        spread: Of what the image tower sees: the unit of the noise.

    Raises:
        ConfigError: The run's config names no noise.
        UnusableRow: The image cannot be decoded.
    """
    settings = config.certificate
    if settings.deviation is None:
        raise ConfigError(
            "--certified: the run's certificate.deviation names no noise; simulate with certificate.deviation=0.5"
        )
    smoothing = Smoothing(deviation=settings.deviation * spread, num_votes=settings.num_votes)

    def outputs(seen: Tensor) -> Tensor:
        return head_outputs(model.dual.hash_head, model.dual.embed_images(seen).embedding)

    (seen,) = model.frozen.image(model.encoder.image_features([model.grey(image)]))
    ballot = cast_ballot(outputs, seen, smoothing, generator=torch_generator(config.seed, "search", "noise"))
    return certify(ballot, radius=max(settings.radii) * smoothing.deviation, alpha=settings.alpha)


def surely_among_first(
    k: int,
    certificate: Certificate,
    found: Sequence[tuple[str, str]],
    indexes: Mapping[str, SearchIndex],
    *,
    gallery: Gallery,
) -> list[bool]:
    """Whether each study surely stays among the first k, in one gallery of all hospitals.

    Args:
        k: Depth.
        certificate: Of the query.
        found: Hospital and the index's own handle of each study, F of them.
        indexes: By hospital.
        gallery: What the query was compared with.
    """
    if not found:
        return []
    query_P = np.packbits(certificate.code)
    items_FP = np.stack([_nearest_code(query_P, indexes[site], handle, gallery) for site, handle in found])
    gallery_NP = np.concatenate([_codes(index, gallery) for index in indexes.values()])
    return [bool(sure) for sure in surely_first(k, certificate, unpack(items_FP).astype(bool), gallery_NP)]


def _codes(index: SearchIndex, gallery: Gallery) -> Codes:
    return index.reports if gallery is Gallery.REPORTS else index.images


def _nearest_code(query_P: Codes, index: SearchIndex, handle: str, gallery: Gallery) -> Codes:
    """By which a study was found."""
    (study,) = np.flatnonzero(index.stored["handles"].whole() == handle_bytes(handle))
    own = _codes(index, gallery)[_owners(index, gallery) == study]
    nearest: Codes = own[int(hamming_distances(query_P[None], own)[0].argmin())]
    return nearest


def _owners(index: SearchIndex, gallery: Gallery) -> np.ndarray[tuple[int], np.dtype[np.integer]]:
    return np.arange(len(index)) if gallery is Gallery.REPORTS else index.image_studies
