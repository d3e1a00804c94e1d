"""`wardround bench attacks`: what codes still find when images and reports are changed to mislead them.

The scratch encoder, all of it trained on the public studies and then on all studies in one place, sees pixels. PGD of
20 steps, no pixel by more than 8 of 255. `map` is the mean average precision of codes, image to report, over all orders
of ties: the own report, and any that shares a finding; `map_wanted` that of the items that a targeted attack wants to
be found. In the gray box the attacker has the towers and another hash head, of another seed. Reports lose or misspell
one word in ten.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from common.config.load import load_config
from common.config.schema import RunConfig
from common.console import Terminal
from common.encoders.dual import DualEncoder
from common.encoders.interface import Encoder
from common.encoders.registry import ENCODERS
from common.hashing.codes import binarise
from common.hashing.head import HashHead, head_outputs
from common.retrieval.evaluation import distinct_reports
from common.retrieval.graded import shared_findings
from common.retrieval.index import CodeIndex
from common.retrieval.metrics import retrieval_metrics
from common.seeds import torch_generator
from simulations.adversarial.interface import CODE_ATTACKS, Goal, Search, signs
from simulations.adversarial.pgd import moved_share, perturbed
from simulations.adversarial.report_substitution import substituted
from simulations.benchmarks.codes import CENTRAL, centralised
from simulations.benchmarks.report import Row
from simulations.display import TerminalWatcher
from simulations.scenarios.simulate import Clock, prepare
from simulations.studies.consortium import Consortium

EPSILON, STEPS = 8.0, 20
SHARE_OF_WORDS = 0.1
PIXELS = ("encoder.name=scratch", "encoder.trainable=all")
MOST_QUERIES, AT_ONCE = 300, 64


def bench_attacks(overrides: Sequence[str] = ()) -> list[Row]:
    """Rows with `map`, `map_findings`, `map_wanted`, `flips` (mean) and `moved` (share of the body's pixels).

    Args:
        overrides: Keys of the config, as `key=value`.

    Raises:
        WardroundError: The config or the studies cannot be used.
    """
    config = load_config([*overrides, *CENTRAL, *PIXELS])
    with TerminalWatcher(Terminal(stderr=True), rounds=config.federation.rounds) as watcher:
        clock = Clock(watcher)
        consortium, start = prepare(config, clock)
        model = centralised(config, consortium, start, clock)
    return rows_of(config, consortium, model)


def rows_of(config: RunConfig, consortium: Consortium, model: DualEncoder) -> list[Row]:
    """The rows of a trained model that sees pixels."""
    victim = _Victim.of(config, consortium, model.eval().requires_grad_(requires_grad=False))
    other = HashHead(
        embedding_dim=config.encoder.embedding_dim,
        bit_width=config.code.bit_width,
        num_centres=config.code.num_centres,
        generator=torch_generator(config.seed, "bench attacks", "another head"),
    ).requires_grad_(requires_grad=False)
    rows = [victim.row("unattacked", victim.outputs(victim.pixels), 0.0, moved=0.0)]
    for name in CODE_ATTACKS.names:
        for box, head in {"": model.hash_head, ", gray box": other}.items():
            begun = time.monotonic()
            changed = _attacked(config, victim, name, head)
            took = time.monotonic() - begun
            moved = moved_share(victim.pixels, changed)
            rows.append(victim.row(name + box, victim.outputs(changed.round()), took, moved=moved))
    begun = time.monotonic()
    texts = [substituted(victim.report_outputs, text, share=SHARE_OF_WORDS) for text in victim.texts]
    took = time.monotonic() - begun
    return [
        *rows,
        victim.row_of_reports("reports, unattacked", victim.texts, 0.0),
        victim.row_of_reports("reports", texts, took),
    ]


def _attacked(config: RunConfig, victim: _Victim, name: str, head: nn.Module) -> Tensor:
    """The victim's images, changed by an attacker who has its towers and a hash head."""
    goal = CODE_ATTACKS.load(name)(victim.search_with(head))
    generator = torch_generator(config.seed, "bench attacks", name)
    parts = [
        perturbed(
            lambda pixels: head(victim.model.embed_images(pixels).embedding),
            victim.pixels[rows],
            Goal(goal.code_BK[rows], goal.towards),
            epsilon=EPSILON,
            steps=STEPS,
            generator=generator,
        )
        for rows in torch.arange(len(victim.pixels)).split(AT_ONCE)
    ]
    return torch.cat(parts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Victim:
    """A model and the search that it serves: images of the held-out studies in the gallery of their reports, and back.

    Attributes:
        model: Sees pixels.
        encoder: Reads reports.
        pixels: Images of the queries, `[B, H, W]`.
        texts: The gallery's reports, R of them.
        relevant: Which report answers which image, `[B, R]`.
        shares: Which has a finding in common with it.
        wanted: Which have one in common with the image after it, the targeted attacks' aim.
    """

    model: DualEncoder
    encoder: Encoder
    pixels: Tensor
    texts: Sequence[str]
    relevant: NDArray[np.bool_]
    shares: NDArray[np.bool_]
    wanted: NDArray[np.bool_]

    @classmethod
    def of(cls, config: RunConfig, consortium: Consortium, model: DualEncoder) -> _Victim:
        """The first held-out studies that name findings."""
        held_out = consortium.held_out(consortium.sites)
        kept = [i for i, record in enumerate(held_out.records) if record.findings][:MOST_QUERIES]
        records = [held_out.records[i] for i in kept]
        chosen, relevant = distinct_reports(records)
        shares = shared_findings(records, [records[i] for i in chosen]) > 0
        return cls(
            model=model,
            encoder=ENCODERS.load(config.encoder.name)(config.encoder),
            pixels=held_out.images[torch.tensor(kept)],
            texts=[records[i].report for i in chosen],
            relevant=relevant,
            shares=shares,
            wanted=np.roll(shares, -1, axis=0),
        )

    def outputs(self, pixels: Tensor) -> Tensor:
        """The hash head's outputs for images, `[B, K]`."""
        parts = [
            head_outputs(self.model.hash_head, self.model.embed_images(part).embedding)
            for part in pixels.split(AT_ONCE)
        ]
        return torch.cat(parts)

    def report_outputs(self, texts: Sequence[str]) -> Tensor:
        """The hash head's outputs for reports, `[B, K]`."""
        features = self.encoder.report_features(texts)
        outputs_BK: Tensor = head_outputs(self.model.hash_head, self.model.embed_reports(features).embedding)
        return outputs_BK

    def search_with(self, head: nn.Module) -> Search:
        """What an attacker with the victim's towers and a hash head knows."""
        reports = self.model.embed_reports(self.encoder.report_features(self.texts)).embedding
        images = torch.cat([self.model.embed_images(part).embedding for part in self.pixels.split(AT_ONCE)])
        return Search(
            own_BK=head(images),
            gallery_RK=signs(head(reports)),
            relevant_BR=torch.from_numpy(self.relevant),
            wanted_BR=torch.from_numpy(self.wanted),
        )

    def row(self, name: str, outputs_BK: Tensor, seconds: float, *, moved: float) -> Row:
        """What changed images find of the reports."""
        gallery = binarise(self.report_outputs(self.texts))
        flips = (signs(outputs_BK) != signs(self.outputs(self.pixels))).sum(dim=1).double().mean()
        scores = CodeIndex(gallery, outputs_BK.shape[1]).scores(binarise(outputs_BK))
        return Row(
            name=name,
            seconds=seconds,
            figures={
                "map": _map(scores, self.relevant),
                "map_findings": _map(scores, self.shares),
                "map_wanted": _map(scores, self.wanted),
                "flips": float(flips),
                "moved": moved,
            },
        )

    def row_of_reports(self, name: str, texts: Sequence[str], seconds: float) -> Row:
        """What changed reports find of the images."""
        outputs_RK = self.report_outputs(texts)
        flips = (signs(outputs_RK) != signs(self.report_outputs(self.texts))).sum(dim=1).double().mean()
        scores = CodeIndex(binarise(self.outputs(self.pixels)), outputs_RK.shape[1]).scores(binarise(outputs_RK))
        return Row(
            name=name,
            seconds=seconds,
            figures={
                "map": _map(scores, self.relevant.T),
                "map_findings": _map(scores, self.shares.T),
                "map_wanted": None,
                "flips": float(flips),
                "moved": None,
            },
        )


def _map(scores_QG: NDArray[np.float32], relevant_QG: NDArray[np.bool_]) -> float:
    asked = relevant_QG.any(axis=1)
    return float(retrieval_metrics(scores_QG[asked], relevant_QG[asked])["map"].mean())
