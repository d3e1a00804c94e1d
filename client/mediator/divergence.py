"""Which sentences of a query are no request for studies: orders to a model, code, encodings, another tongue's.

A linear filter over characters and words (TF-IDF of n-grams, logistic regression; scikit-learn) that was trained on
radiology phrases against phrases of attacks, by `simulations/mediation/train_divergence.py`. It is a filter and no
guarantee: what it leaves in is verified like all words, and what it leaves out is said. Its weights are data in
`divergence.json`, which names its provenance and is named by its digest.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from client.mediator.plan import Span, Why
from common.canonical import digest
from common.errors import DataError

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

CHARACTERS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (1, 4), "sublinear_tf": True}
WORDS: dict[str, Any] = {"analyzer": "word", "ngram_range": (1, 2), "sublinear_tf": True}
"""What is counted of a sentence."""

_SENTENCE = re.compile(r"[^.;!?]*(?:[.;!?](?!\s|$)[^.;!?]*)*")


@dataclass(frozen=True)
class Divergence:
    """The trained filter.

    Attributes:
        vectorizers: How sentences become features: of characters, and of words.
        weights: Of each feature, characters first.
        intercept: Log odds of no features.
        threshold: Log odds from which on a sentence is left out.
        digest: Of all of it.
    """

    vectorizers: tuple[TfidfVectorizer, TfidfVectorizer]
    weights: np.ndarray[Any, np.dtype[np.float64]]
    intercept: float
    threshold: float
    digest: str

    def score(self, sentences: list[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Log odds that each sentence is no request for studies."""
        at, scores = 0, np.full(len(sentences), self.intercept)
        for vectorizer in self.vectorizers:
            counted = vectorizer.transform(sentences)
            scores += counted @ self.weights[at : at + counted.shape[1]]
            at += counted.shape[1]
        return scores

    def left_out(self, words: str) -> tuple[Span, ...]:
        """The sentences of words that are no request for studies."""
        spans = sentences_of(words)
        if not spans:
            return ()
        scores = self.score([words[span.start : span.end] for span in spans])
        return tuple(span for span, score in zip(spans, scores, strict=True) if score > self.threshold)


def sentences_of(words: str) -> tuple[Span, ...]:
    """Where sentences stand: up to a full stop, semicolon, exclamation or question mark before white space."""
    return tuple(Span(*found.span()) for found in _SENTENCE.finditer(words) if found[0].strip())


def without(words: str, spans: Why) -> str:
    """Words with blanks for those of spans, so that all others stand where they stood."""
    for span in spans:
        words = words[: span.start] + " " * (span.end - span.start) + words[span.end :]
    return words


@cache
def divergence() -> Divergence:
    """The filter that the package ships.

    Raises:
        DataError: Its file is not the one that its digest names.
    """
    text = (resources.files("client.mediator") / "divergence.json").read_text(encoding="utf-8")
    return read_filter(json.loads(text))


def read_filter(held: dict[str, Any]) -> Divergence:
    """The filter of its data.

    Raises:
        DataError: They are not the ones that their digest names.
    """
    if digest(held["filter"]) != held["digest"]:
        raise DataError("client/mediator/divergence.json: is not what its digest names; install wardround anew")
    data = held["filter"]
    return Divergence(
        vectorizers=(_vectorizer(data["characters"], CHARACTERS), _vectorizer(data["words"], WORDS)),
        weights=np.asarray(data["characters"]["weights"] + data["words"]["weights"]),
        intercept=data["intercept"],
        threshold=data["threshold"],
        digest=held["digest"],
    )


def _vectorizer(data: dict[str, Any], counted: dict[str, Any]) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import: not before words are read

    vectorizer = TfidfVectorizer(vocabulary=data["terms"], **counted)
    vectorizer.idf_ = np.asarray(data["idf"])
    return vectorizer
