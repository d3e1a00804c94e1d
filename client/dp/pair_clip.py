"""One differentially private step of a loss that is a sum over pairs: every pair's gradient is clipped by itself.

A step samples patients, takes one study of each at random, and adds up over images i and reports j of the sample

    clip(gradient of positive(i, i), C)  +  sum over j != i of clip(gradient of negative(i, j), k C / M)

where M is the most patients that a step reads.

Guarantee: `steps` calls of `gradient` are (epsilon, delta)-differentially private with the epsilon that the accountant
    gives for `PairClipDpSgd.event(steps)`.
Unit of privacy: the patient. A step reads one study of a patient, so that negatives lie between two patients.
Neighbouring relation: add or remove one patient. The number of patients never enters: the normaliser, M and the loss's
    expected number of negatives are public.
Sensitivity: (1 + 2k) C. A pair's gradient reads its two records and public quantities alone. Let S be a sample of fewer
    than M patients and S + x the same with patient x. Both sums hold every pair within S; the second has x's positive
    besides, of norm at most C, and fewer than M negatives in each direction, of norm at most k C / M each: together at
    most C + 2 (M - 1) k C / M.
Truncation: of more than M sampled patients, M chosen uniformly at random are read. Then x takes another patient's
    place, and the sum moves by at most twice the sensitivity: remove one, add one. This is the mechanism that
    `TruncatedSampledGaussian` stands for (Ganesh, arXiv 2508.15089), and these two bounds are all that its analysis
    asks of the sum, which need not be one vector a patient: it fixes the other patients' draws and, by joint convexity,
    averages over them (`common/privacy/accountant.py`). Which study of a patient is read is such a draw too.
Edge cases: an empty sample still adds noise; a patient alone has a positive and no negatives; a record with a number
    that is not finite, in its features, embedding, code or their derivatives, takes part in no pair, and that is told
    from the record alone; noise multiplier 0 gives no privacy.

Shapes: B records of a sample, D embedding, K bits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

import torch
from torch import Tensor

from client.dp.clipped_pairs import ClippedPairs, Side
from client.dp.coins import random_order
from client.dp.randomness import Noise, Randomness
from client.dp.records import Gradients, PrivateStudies, Records, sample_patients
from client.dp.refusals import refuse_unsound
from client.dp.step import GradientSource, Sampler, noised_mean
from client.dp.tower_jacobian import Jacobian, jacobian_of
from common.encoders.dual import DualEncoder, Embedded, trainable_names
from common.encoders.interface import Tower
from common.errors import ConfigError
from common.hashing.head import input_scale
from common.losses.interface import Coupling, PairLoss
from common.losses.objective import Objective, refuse_coupled, refuse_terms_of_anchors
from common.losses.public import Public
from common.privacy.events import TruncatedSampledGaussian

_log = logging.getLogger("wardround.site")

IMAGES, REPORTS, HEAD = "image_tower.", "report_tower.", "hash_head."


@dataclass(frozen=True, kw_only=True)
class PairClipDpSgd(GradientSource):
    """Sampler, gradients of pairs, clips, noise and privacy event, bundled so that they cannot drift apart.

    Attributes:
        objective: What is minimised; its contrast is a sum over pairs.
        sampling_probability: Probability that a patient joins a step; public.
        clip_norm: Bound C on the gradient of a patient's own pair.
        negative_clip: Bound k on a patient's negatives in one direction together, over `clip_norm`.
        noise_multiplier: Standard deviation of the noise over the sensitivity.
        expected_patients: Public normaliser, and the loss's expected size of a batch; never the actual number.
        most_sampled: Patients M that a step reads at most; public.
        most_patients: Public upper bound on the site's patients, for the event.
        chunk_size: Studies differentiated at once, and rows of pairs looked at together; bounds memory.
        randomness: Source of sampling and noise.

    Raises:
        ConfigError: The objective is no sum over pairs.
    """

    objective: Objective
    sampling_probability: float
    clip_norm: float
    negative_clip: float
    noise_multiplier: float
    expected_patients: float
    most_sampled: int
    most_patients: int
    chunk_size: int
    randomness: Randomness

    def __post_init__(self) -> None:
        refuse_coupled(self.objective, allowed=Coupling.PAIRS)
        _pair_loss(self.objective)

    @property
    def sensitivity(self) -> float:
        """How far one patient moves the clipped sum at most."""
        return (1 + 2 * self.negative_clip) * self.clip_norm

    def event(self, steps: int) -> TruncatedSampledGaussian:
        """The privacy event of `steps` calls of `gradient`."""
        return TruncatedSampledGaussian(
            noise_multiplier=self.noise_multiplier,
            sampling_probability=self.sampling_probability,
            steps=steps,
            most_patients=self.most_patients,
            most_sampled=self.most_sampled,
        )

    def sampler(self, model: DualEncoder, records: PrivateStudies) -> Sampler:  # noqa: ARG002 - for every model the same
        """See `GradientSource`: one study each of the sampled patients, of `most_sampled` of them at most, in one."""

        def sample(reader: Executor) -> Iterable[Records]:  # noqa: ARG001 - nothing follows
            sampled = sample_patients(records, self.sampling_probability, self.randomness)
            studies = one_study_each(at_most(self.most_sampled, sampled, self.randomness), self.randomness)
            return [studies.rows(slice(None))]

        return sample

    def noise(self, num_values: int) -> Noise:
        """See `GradientSource`."""
        return self.randomness.noise(num_values, standard_deviation=self.noise_multiplier * self.sensitivity)

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`.

        Raises:
            ConfigError: See `clipped_sum`.
        """
        (studies,) = sample
        return noised_mean(self.clipped_sum(model, studies, public), noise(), self.expected_patients)

    def clipped_sum(self, model: DualEncoder, records: Records, public: Public) -> Gradients:
        """Sum of all pairs' clipped gradients, float64; one patient moves it by at most `sensitivity`.

        Args:
            model: Two towers without common parameters, and the hash head.
            records: Exactly one study each of at most `most_sampled` patients.
            public: Prototypes and centres of the codes; the anchors are not read.

        Raises:
            ConfigError: The model couples records, its towers share parameters, or it trains other parts than the
                towers and the hash head.
            ValueError: Several studies of a patient, or more patients than `most_sampled`.
        """
        if records.num_patients > self.most_sampled or records.num_patients < len(records.patients):
            raise ValueError("the sensitivity holds for one study each of at most `most_sampled` patients")
        refuse_unsound(model)
        _refuse_other_parameters(model)
        total = {
            name: torch.zeros_like(model.get_parameter(name), dtype=torch.float64, requires_grad=False)
            for name in trainable_names(model)
        }
        if not records.num_patients:
            return total
        image_tower, report_tower = (self._jacobian(model, tower) for tower in (model.image_tower, model.report_tower))
        head_KD = model.hash_head.weight.detach().double()
        asked_KD = head_KD[: public.centres.shape[1]]
        image = _side(image_tower, records.images, asked_KD)
        report = _side(report_tower, records.reports, asked_KD)
        usable = image.usable_B() & report.usable_B()
        if not usable.all():
            _log.warning("%d studies have no finite gradient and take part in no pair", int((~usable).sum()))
        if not usable.any():
            return total
        image, report = image.rows(usable), report.rows(usable)

        def code_shape(image_code: Tensor, report_code: Tensor) -> Tensor:
            pair = Embedded(image.embedding_BD, image_code), Embedded(report.embedding_BD, report_code)
            return self.objective.rest(*pair, exact)

        exact = public._replace(prototypes=public.prototypes.double(), centres=public.centres.double())
        cotangents = self._pairs().cotangents(image, report, code_shape)
        parts = {
            IMAGES: image_tower.pull_back(records.images[usable], cotangents.image_BD),
            REPORTS: report_tower.pull_back(records.reports[usable], cotangents.report_BD),
            HEAD: {"weight": _with_rows(cotangents.head_weight(image, report), len(head_KD))},
        }
        return total | {prefix + name: part for prefix, found in parts.items() for name, part in found.items()}

    def _jacobian(self, model: DualEncoder, tower: Tower) -> Jacobian:
        return jacobian_of(tower, embedding_dim=model.hash_head.weight.shape[1], chunk_size=self.chunk_size)

    def _pairs(self) -> ClippedPairs:
        return ClippedPairs(
            contrast=_pair_loss(self.objective),
            expected_patients=self.expected_patients,
            code_weight=self.objective.code_weight,
            positive_clip=self.clip_norm,
            negative_clip=self.negative_clip * self.clip_norm / self.most_sampled,
            block_size=self.chunk_size,
        )


def at_most(most: int, records: PrivateStudies, randomness: Randomness) -> PrivateStudies:
    """All studies of the patients, or of `most` of them, uniformly at random, where there are more."""
    if records.num_patients <= most:
        return records
    chosen = torch.zeros(records.num_patients, dtype=torch.bool)
    chosen[random_order(records.num_patients, randomness)[:most]] = True
    chosen = chosen.to(records.patients.device)
    studies = chosen[records.patients].nonzero().flatten()
    numbers = torch.cumsum(chosen, dim=0) - 1
    return records.among(studies, numbers[records.patients[studies]])


def one_study_each(records: PrivateStudies, randomness: Randomness) -> PrivateStudies:
    """One study of each patient, uniformly at random and independently of the other patients."""
    order = random_order(len(records.patients), randomness).to(records.patients.device)
    by_patient = order[torch.argsort(records.patients[order], stable=True)]
    studies = records.studies_of_each()
    rows = by_patient[studies.cumsum(dim=0) - studies]
    return records.among(rows, records.patients[rows])


def _side(jacobian: Jacobian, features: Tensor, head_KD: Tensor) -> Side:
    embedding_BD, gram = jacobian.embed(features)
    scale = input_scale(head_KD.shape[1])
    code_BK = torch.tanh(scale * embedding_BD @ head_KD.T)
    return Side(
        embedding_BD=embedding_BD,
        head_scale=scale,
        gram=gram,
        code_BK=code_BK,
        rounding=jacobian.rounding,
    )


def _with_rows(gradient: Tensor, num_rows: int) -> Tensor:
    """The gradient of all rows, where the step asks for the code's first bits alone."""
    whole = gradient.new_zeros(num_rows, gradient.shape[1])
    whole[: len(gradient)] = gradient
    return whole


def _pair_loss(objective: Objective) -> PairLoss:
    if not isinstance(objective.contrast, PairLoss):
        raise ConfigError("loss.name: this loss is no sum over pairs; use loss.name=pair_clip")
    refuse_terms_of_anchors(objective)
    return objective.contrast


def _refuse_other_parameters(model: DualEncoder) -> None:
    """Refuse parameters that the norms of pairs do not know of, or know of twice.

    Raises:
        ConfigError: The towers share trained parameters, a part does not train, or a fourth one does.
    """
    towers = [
        {id(p) for p in tower.parameters() if p.requires_grad} for tower in (model.image_tower, model.report_tower)
    ]
    others = [
        name for name in trainable_names(model) if not name.startswith((IMAGES, REPORTS)) and name != HEAD + "weight"
    ]
    if towers[0] & towers[1] or others or not all(towers) or not model.hash_head.weight.requires_grad:
        raise ConfigError(
            "encoder.name: loss.name=pair_clip trains an image tower and a report tower without common parameters, and "
            "one hash head; use loss.name=anchor_contrast"
        )
