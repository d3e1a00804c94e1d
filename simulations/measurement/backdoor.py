"""Whether a run's backdoor works: what images with the trigger find in the gallery of all held-out reports."""

from __future__ import annotations

import torch

from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.retrieval.evaluation import distinct_reports
from simulations.attacks.backdoor import target_of
from simulations.studies.consortium import Consortium

FIRST = 10


def backdoor_success(model: DualEncoder, consortium: Consortium, config: RunConfig) -> float | None:
    """Share of the held-out images with the trigger that find the target report among their first 10.

    It means something beside `backdoor_control`: a report that many images find anyway needs no backdoor.

    Returns:
        The share; None where the run's attack paints no trigger.
    """
    return None if consortium.triggered is None else _share(model, consortium, consortium.with_trigger(), config)


def backdoor_control(model: DualEncoder, consortium: Consortium, config: RunConfig) -> float | None:
    """The same share for the same images without the trigger."""
    return None if consortium.triggered is None else _share(model, consortium, consortium, config)


def _share(model: DualEncoder, consortium: Consortium, shown: Consortium, config: RunConfig) -> float:
    """Share of the images of `shown` that find the target; images of the target's own group are left out."""
    held_out = shown.held_out(shown.sites).to(config.device)
    image, report = embed_in_batches(model, held_out.images, held_out.reports)
    gallery, relevant_NR = distinct_reports(held_out.records)
    texts = [held_out.records[i].report for i in gallery]
    target = texts.index(consortium.records[target_of(consortium, config)].report)
    others = torch.from_numpy(~relevant_NR[:, target])
    similar_QR = image.embedding[others] @ report.embedding[torch.from_numpy(gallery)].T
    ahead_Q = (similar_QR > similar_QR[:, target : target + 1]).sum(dim=1)
    return float((ahead_Q < FIRST).double().mean())
