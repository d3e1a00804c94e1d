"""A model and the search that it serves, as an attack finds them: what changed images and reports still find.

`map` is the mean average precision of codes over all orders of ties: of images for their own report, and
`map_findings` for any report that shares a finding; `map_wanted` of the items that a targeted attack wants to be found;
`map_images` of images for other images that share a finding. `flips` are bits of the code, a mean.

Shapes: B images, R reports, K bits.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.site import HeldOut
from common.adversarial.ascent import OutputsOf
from common.encoders.dual import DualEncoder
from common.hashing.codes import binarise
from common.hashing.head import head_outputs
from common.retrieval.evaluation import distinct_reports
from common.retrieval.graded import shared_findings
from common.retrieval.index import CodeIndex
from common.retrieval.metrics import retrieval_metrics
from simulations.adversarial.interface import CodeAttack, Goal, Search, signs
from simulations.adversarial.pgd import perturbed
from simulations.adversarial.visibility import moved_share, ssim

EPSILON, STEPS = 8.0, 20
"""Grey levels that a pixel moves at most, and gradient steps."""
AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Victim:
    """Images of held-out studies that name findings, in the gallery of their reports, and back.

    Attributes:
        model: A copy on the CPU, whose parameters have no gradient.
        pixels: Images of the queries, `[B, H, W]`.
        reports: Features of the gallery's reports, R of them.
        texts: The same reports.
        outputs_of: From pixels to the hash head's outputs.
        relevant: Which report answers which image, `[B, R]`.
        shares: Which has a finding in common with it.
        wanted: Which have one in common with the image after it, the targeted attacks' aim.
        alike: Which image shares a finding with which other, `[B, B]`.
    """

    model: DualEncoder
    pixels: Tensor
    reports: Tensor
    texts: Sequence[str]
    outputs_of: OutputsOf
    relevant: NDArray[np.bool_]
    shares: NDArray[np.bool_]
    wanted: NDArray[np.bool_]
    alike: NDArray[np.bool_]

    @classmethod
    def of(cls, held_out: HeldOut, model: DualEncoder, *, most_queries: int) -> Victim:
        """The first held-out studies that name findings, under a model that sees pixels."""
        kept = [i for i, record in enumerate(held_out.records) if record.findings][:most_queries]
        records = [held_out.records[i] for i in kept]
        chosen, relevant = distinct_reports(records)
        shares = shared_findings(records, [records[i] for i in chosen]) > 0
        rows = torch.tensor(kept)
        frozen = copy.deepcopy(model).cpu().eval().requires_grad_(requires_grad=False)
        return cls(
            model=frozen,
            pixels=held_out.images[rows],
            reports=held_out.reports[rows[torch.from_numpy(chosen)]],
            texts=[records[i].report for i in chosen],
            outputs_of=lambda pixels: image_outputs(frozen, frozen.hash_head, pixels),
            relevant=relevant,
            shares=shares,
            wanted=np.roll(shares, -1, axis=0),
            alike=(shared_findings(records, records) > 0) & ~np.eye(len(records), dtype=bool),
        )

    def outputs(self, pixels: Tensor) -> Tensor:
        """The hash head's outputs for images, `[B, K]`."""
        return torch.cat([self.outputs_of(part) for part in pixels.split(AT_ONCE)])

    def report_outputs(self, reports: Tensor) -> Tensor:
        """The hash head's outputs for features of reports, `[B, K]`."""
        return head_outputs(self.model.hash_head, self.model.embed_reports(reports).embedding)

    def attacked(self, attack: CodeAttack, *, head: nn.Linear, generator: torch.Generator) -> Tensor:
        """The images, in whole grey levels, changed by an attacker who has the towers and a hash head."""
        images = torch.cat([self.model.embed_images(part).embedding for part in self.pixels.split(AT_ONCE)])
        search = Search(
            own_BK=head(images),
            gallery_RK=signs(head(self.model.embed_reports(self.reports).embedding)),
            relevant_BR=torch.from_numpy(self.relevant),
            wanted_BR=torch.from_numpy(self.wanted),
        )
        goal = attack(search)
        parts = [
            perturbed(
                lambda pixels: image_outputs(self.model, head, pixels),
                self.pixels[rows],
                Goal(goal.code_BK[rows], goal.towards),
                epsilon=EPSILON,
                steps=STEPS,
                generator=generator,
            )
            for rows in torch.arange(len(self.pixels)).split(AT_ONCE)
        ]
        return torch.cat(parts).round()

    def found_by(self, changed: Tensor) -> dict[str, float]:
        """What changed images find, and how much of the change could be seen."""
        outputs_BK, own_BK = self.outputs(changed), self.outputs(self.pixels)
        scores = _scores(outputs_BK, self.report_outputs(self.reports))
        among_images = _scores(outputs_BK, own_BK)
        others = ~np.eye(len(own_BK), dtype=bool)
        return {
            "map": mean_ap(scores, self.relevant),
            "map_findings": mean_ap(scores, self.shares),
            "map_wanted": mean_ap(scores, self.wanted),
            "map_images": mean_ap(
                among_images[others].reshape(len(others), -1), self.alike[others].reshape(len(others), -1)
            ),
            "flips": _flips(outputs_BK, own_BK),
            "moved": moved_share(self.pixels, changed),
            "ssim": ssim(self.pixels, changed),
        }

    def found_by_reports(self, changed: Tensor) -> dict[str, float | None]:
        """What changed reports, as features, find of the images."""
        outputs_RK = self.report_outputs(changed)
        scores = _scores(outputs_RK, self.outputs(self.pixels))
        return {
            "map": mean_ap(scores, self.relevant.T),
            "map_findings": mean_ap(scores, self.shares.T),
            "map_wanted": mean_ap(scores, self.wanted.T),
            "map_images": None,
            "flips": _flips(outputs_RK, self.report_outputs(self.reports)),
            "moved": None,
            "ssim": None,
        }


def image_outputs(model: DualEncoder, head: nn.Linear, pixels: Tensor) -> Tensor:
    """A hash head's outputs for images; unlike the model's relaxed codes they have a gradient in the pixels."""
    outputs_BK: Tensor = head_outputs(head, model.embed_images(pixels).embedding)
    return outputs_BK


def mean_ap(scores_QG: NDArray[np.float32], relevant_QG: NDArray[np.bool_]) -> float:
    """Mean average precision over the queries that something answers."""
    asked = relevant_QG.any(axis=1)
    return float(retrieval_metrics(scores_QG[asked], relevant_QG[asked])["map"].mean())


def _scores(queries_QK: Tensor, gallery_GK: Tensor) -> NDArray[np.float32]:
    return CodeIndex(binarise(gallery_GK), gallery_GK.shape[1]).scores(binarise(queries_QK))


def _flips(outputs_BK: Tensor, own_BK: Tensor) -> float:
    return float((signs(outputs_BK) != signs(own_BK)).sum(dim=1).double().mean())
