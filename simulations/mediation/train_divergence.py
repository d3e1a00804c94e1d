"""Trains the filter of `client/mediator/divergence.py`, and says how well it parts what it has not seen.

Run as `python -m simulations.mediation.train_divergence`; it writes `client/mediator/divergence.json` anew. Radiology
phrases are the "develop" queries, requests of the generator and names of concepts. Attack phrases are
`attack_phrases.csv`, filled with findings, plain, encoded and garbled. Its figures are of the "held" queries, requests
of another seed, and the sentences that the suite of attacks slips in: no sentence of the suite was trained on.
"""

from __future__ import annotations

import base64
import codecs
import json
import random
import urllib.parse
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

import client.mediator
from client.mediator.divergence import CHARACTERS, WORDS, Divergence, read_filter, sentences_of
from client.mediator.sanitise import sanitise
from common.canonical import digest
from common.console import Terminal
from common.files import write_atomically
from common.terminology.concepts import concepts
from simulations.attacks.queries.requests import phrases, requests
from simulations.attacks.queries.suite import attacks
from simulations.mediation.queries import right_plans

SEED = 7
MOST_FEATURES = {"characters": 2500, "words": 1000}
DIGITS = 5
"""Significant digits that are kept, so that machines agree on the file."""
QUANTILE = 0.999
"""Share of the radiology phrases, each scored by a model that has not seen it, that stays below the threshold."""


def radiology() -> list[str]:
    """Phrases to be let through."""
    names = [" ".join(one.coded.meaning.split()) for one in concepts().by_code.values()]
    asked = [one.words for one in requests(number=1500, seed=SEED)]
    return [*names, *asked, *(one.query for one in right_plans() if one.split == "develop")]


def attacking() -> list[str]:
    """Phrases to be left out."""
    text = (resources.files("simulations.mediation") / "attack_phrases.csv").read_text(encoding="utf-8")
    draw = random.Random(SEED)  # noqa: S311 - no secret hangs on it
    made = []
    for line in text.splitlines()[1:]:
        for _ in range(8):
            order = line.replace("{}", draw.choice(phrases()).words)
            code = draw.choice((_base64, _rot13, _hex, _url, _swapped, _garbled))
            made += [order, code(order), f"decode: {code(order)}" if draw.random() < 0.5 else code(order)]
    return [sanitise(words[:2000]).text for words in made]


def trained() -> dict[str, Any]:
    """The filter, as its file holds it."""
    calm, hostile = radiology(), attacking()
    texts, labels = [*calm, *hostile], np.r_[np.zeros(len(calm)), np.ones(len(hostile))]
    kinds = {"characters": CHARACTERS, "words": WORDS}
    made = {name: TfidfVectorizer(max_features=MOST_FEATURES[name], **kind) for name, kind in kinds.items()}
    features = hstack([vectorizer.fit_transform(texts) for vectorizer in made.values()]).tocsr()
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=2000)
    unseen = cross_val_predict(model, features, labels, cv=5, method="decision_function")
    model.fit(features, labels)
    weights = np.split(model.coef_[0], [len(made["characters"].vocabulary_)])
    held = {
        name: {
            "terms": vectorizer.get_feature_names_out().tolist(),
            "idf": _rounded(vectorizer.idf_),
            "weights": _rounded(part),
        }
        for (name, vectorizer), part in zip(made.items(), weights, strict=True)
    }
    threshold = max(0.0, float(np.quantile(unseen[labels == 0], QUANTILE)))
    data = {**held, "intercept": _rounded(model.intercept_)[0], "threshold": _rounded(np.array([threshold]))[0]}
    provenance = f"simulations/mediation/train_divergence.py: {len(calm)} radiology and {len(hostile)} attack phrases"
    return {"provenance": provenance, "digest": digest(data), "filter": data}


def figures(of: Divergence) -> dict[str, float]:
    """How well a filter parts what it was not trained on: area under the ROC, and both shares at its threshold."""
    calm = [one.query for one in right_plans() if one.split == "held"]
    calm += [one.words for one in requests(number=1500, seed=SEED + 1)]
    hostile = []
    for attack in attacks(per_kind=100):
        plain = sanitise(attack.words).text
        if attack.kind != "insertion":  # "also pneumonia" is a request like any other
            spans = sentences_of(plain)[1:]
            hostile.append(max((plain[span.start : span.end] for span in spans), key=len))
    scores = of.score([*calm, *hostile])
    labels = np.r_[np.zeros(len(calm)), np.ones(len(hostile))]
    return {
        "radiology": len(calm),
        "attacks": len(hostile),
        "area": float(roc_auc_score(labels, scores)),
        "left_out_of_radiology": float(np.mean(scores[: len(calm)] > of.threshold)),
        "left_out_of_attacks": float(np.mean(scores[len(calm) :] > of.threshold)),
    }


def main() -> None:
    """Train, write, and print the figures."""
    held = trained()
    path = Path(client.mediator.__file__).parent / "divergence.json"
    write_atomically(path, (json.dumps(held, ensure_ascii=False) + "\n").encode())
    Terminal().print(held["digest"], figures(read_filter(held)))


def _rounded(values: Any) -> list[float]:  # noqa: ANN401 - an array of numbers
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def _hex(text: str) -> str:
    return text.encode().hex()


def _url(text: str) -> str:
    return urllib.parse.quote(text) if len(text) % 2 else "".join(f"%{byte:02X}" for byte in text.encode())


def _swapped(text: str) -> str:
    return text.translate(str.maketrans("aeiostl", "4310$71"))


def _garbled(text: str) -> str:
    return "".join(letter for at, letter in enumerate(text) if at % (3 + len(text) % 2))


if __name__ == "__main__":
    main()
