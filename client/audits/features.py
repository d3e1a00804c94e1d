"""What a linear model sees of pictures and reports: a few components, fitted without any label.

Without an encoder these are plain: a thumbnail and its grey levels; words and pairs of words weighted by rarity.
With the frozen half of a run's encoder they are its features. Either way they are cut down to `NUM_COMPONENTS`
principal components of unit spread, so that a few hundred patients are enough to fit a line to them.

Shapes: N studies, F features, D components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from client.audits.studies import SIDE, AuditedStudies
from common.encoders.interface import Encoder
from common.types import Image

NUM_COMPONENTS = 64
THUMBNAIL = 16
ENCODED_SIDE = 224
NUM_LEVELS = 16
LEVELS_WEIGHT = 4.0
"""Of the grey levels beside the thumbnail's pixels, which are many more."""

Components = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Fitted features of both halves of a study.

    Attributes:
        images: Components `[N, D]` of pictures of any size.
        reports: Components `[N, D]` of texts.
    """

    images: Callable[[Sequence[Image]], Components]
    reports: Callable[[Sequence[str]], Components]


def side_for(encoder: Encoder | None) -> int:
    """Pixels of the pictures that the features are to be fitted to: what a frozen encoder sees, or `SIDE`."""
    return SIDE if encoder is None or encoder.keys is None else ENCODED_SIDE


def fit_features(studies: AuditedStudies, encoder: Encoder | None = None) -> Features:
    """Features fitted to the studies, of an encoder that has a frozen half, or plain ones."""
    texts = [record.report for record in studies.records]
    if encoder is not None and encoder.keys is not None:
        image_base, report_base = _flat(encoder.image_features), _flat(encoder.report_features)
    else:
        image_base, report_base = _plain_picture, _plain_words(texts)
    return Features(
        images=_components(image_base, list(studies.pictures)),
        reports=_components(report_base, texts),
    )


def _components(
    base: Callable[[Sequence[Any]], Components], items: Sequence[Any]
) -> Callable[[Sequence[Any]], Components]:
    """Principal components of what `base` makes of items, in units of their spread over these ones."""
    base_NF = base(items)
    num = min(NUM_COMPONENTS, base_NF.shape[1], max(1, len(items) // 4))
    fitted = PCA(num, random_state=0, svd_solver="full").fit(base_NF)
    spread_D = np.sqrt(fitted.explained_variance_)
    known_D = spread_D > 1e-6 * max(float(spread_D[0]), 1e-12)

    def components(others: Sequence[Any]) -> Components:
        return np.asarray(fitted.transform(base(others))[:, known_D] / spread_D[known_D])

    return components


def _flat(features: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[Any]], Components]:
    def flat(items: Sequence[Any]) -> Components:
        return np.asarray(features(items).reshape(len(items), -1), dtype=np.float64)

    return flat


def _plain_picture(pictures: Sequence[Image]) -> Components:
    """A thumbnail and the grey levels, `[N, THUMBNAIL ** 2 + NUM_LEVELS]`."""
    grey_NHW = np.stack(pictures).astype(np.float64) / 255.0
    num, side = len(grey_NHW), grey_NHW.shape[1] // THUMBNAIL
    thumbnail_NF = grey_NHW.reshape(num, THUMBNAIL, side, THUMBNAIL, side).mean(axis=(2, 4)).reshape(num, -1)
    levels_NF = np.quantile(grey_NHW.reshape(num, -1), np.linspace(0.0, 1.0, NUM_LEVELS), axis=1).T
    return np.hstack([thumbnail_NF, LEVELS_WEIGHT * levels_NF])


def _plain_words(texts: Sequence[str]) -> Callable[[Sequence[str]], Components]:
    """Words and pairs of words in at least two of the texts, weighted by rarity, in 2 x `NUM_COMPONENTS` directions."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=min(2, len(texts)), sublinear_tf=True, token_pattern=r"\S+")  # noqa: S106 - no password, a pattern of words
    counts = words.fit_transform(texts)
    num = max(1, min(2 * NUM_COMPONENTS, *(size - 1 for size in counts.shape)))
    directions = TruncatedSVD(num, random_state=0).fit(counts)
    pipeline = make_pipeline(words, directions)

    def plain_words(others: Sequence[str]) -> Components:
        return np.asarray(pipeline.transform(others))

    return plain_words
