"""A few held-out images, drawn from the seed, and the votes on their codes: what is certified and attacked.

The noise, and a radius, are in units of the spread of what the trained image tower sees: pixels where all of it
trains, the features of its frozen part where heads train. A certificate of features says nothing of the pixels before
them.

Shapes: Q queries, R reports, K bits, P bytes (P = K / 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.site import HeldOut
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.hashing.certificate import Ballot
from common.hashing.codes import Codes, binarise
from common.hashing.hamming import hamming_distances
from common.hashing.head import head_outputs
from common.hashing.sensitivity import SoftOf
from common.hashing.smoothing import Smoothing, cast_ballot
from common.retrieval.evaluation import distinct_reports
from common.retrieval.metrics import retrieval_metrics
from common.seeds import numpy_generator, torch_generator


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Images as queries, in one gallery of all held-out reports.

    Attributes:
        outputs: The hash head's outputs for images; unlike the model's relaxed codes they have a gradient in these.
        images: What the trained image tower sees of the queries, Q of them.
        smoothing: The noise and the number of votes.
        ballots: The votes on each query's code.
        gallery_RP: The reports' plain codes.
        relevant_QR: Which report answers which query.
    """

    outputs: SoftOf
    images: Tensor
    smoothing: Smoothing
    ballots: Sequence[Ballot]
    gallery_RP: Codes
    relevant_QR: NDArray[np.bool_]

    @classmethod
    def of(cls, model: DualEncoder, held_out: HeldOut, config: RunConfig) -> Drawn | None:
        """The drawn images and their votes; None where no noise is configured."""
        settings = config.certificate
        if settings.deviation is None:
            return None
        chosen, relevant_NR = distinct_reports(held_out.records)
        drawn = numpy_generator(config.seed, "certificate", "queries").permutation(len(held_out.records))
        queries = np.sort(drawn[: settings.num_queries])
        images = held_out.images[torch.from_numpy(queries)].to(torch.float32)
        smoothing = Smoothing(deviation=settings.deviation * float(images.std()), num_votes=settings.num_votes)
        generator = torch_generator(config.seed, "certificate", "noise")
        outputs = partial(_outputs, model)
        _, report = embed_in_batches(model, held_out.images, held_out.reports)
        return cls(
            outputs=outputs,
            images=images,
            smoothing=smoothing,
            ballots=[cast_ballot(outputs, one, smoothing, generator=generator) for one in images],
            gallery_RP=binarise(report.code)[chosen],
            relevant_QR=relevant_NR[queries],
        )

    @property
    def smoothed_codes(self) -> Codes:
        """The queries' codes by votes, `[Q, P]`."""
        return np.packbits(np.stack([ballot.code for ballot in self.ballots]), axis=1)

    def codes_of(self, images: Tensor) -> Codes:
        """The plain codes of images, `[Q, P]`."""
        with torch.no_grad():
            return binarise(self.outputs(images))

    def recall_at_10(self, codes_QP: Codes) -> float:
        """What codes of the queries find of their reports."""
        distances_QR = hamming_distances(codes_QP, self.gallery_RP)
        return float(retrieval_metrics(-distances_QR, self.relevant_QR)["recall_at_10"].mean())

    def prefix(self, bits: int) -> Drawn:
        """The same queries and votes, of the codes' first bits alone."""
        return replace(
            self,
            outputs=lambda images: self.outputs(images)[:, :bits],
            ballots=[ballot.prefix(bits) for ballot in self.ballots],
            gallery_RP=self.gallery_RP[:, : bits // 8],
        )


def _outputs(model: DualEncoder, images: Tensor) -> Tensor:
    output_BK: Tensor = head_outputs(model.hash_head, model.embed_images(images).embedding)
    return output_BK
