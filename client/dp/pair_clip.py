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
    `TruncatedSampledGaussian` accounts for (Ganesh, arXiv 2508.15089). Given that S alone is at least M, the patients
    read are uniform among M-subsets without x, and with x among those and the (M - 1)-subsets joined by x; by joint
    convexity, the two bounds above are all that the analysis asks of the sum, which need not be one vector a patient.
    The same convexity averages out which study of a patient is read, since patients' choices are independent.
Edge cases: an empty sample still adds noise; a patient alone has a positive and no negatives; a record with a number
    that is not finite, in its features, embedding, code or their derivatives, takes part in no pair, and that is told
    from the record alone; noise multiplier 0 gives no privacy.

Shapes: B records of a sample, D embedding, K bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from client.dp.clipped_pairs import SQUARED_ROUNDING, ClippedPairs, Side
from client.dp.randomness import Randomness
from client.dp.records import Gradients, Records, sample_patients
from client.dp.tower_jacobian import TowerJacobian
from common.encoders.dual import DualEncoder, Embedded, trainable_names
from common.encoders.interface import Tower
from common.errors import ConfigError
from common.hashing.head import HashHead
from common.losses.interface import Coupling, PairLoss
from common.losses.objective import Objective, Public, refuse_coupled
from common.privacy.events import TruncatedSampledGaussian

IMAGES, REPORTS, HEAD = "image_tower.", "report_tower.", "hash_head."
_COINS = 62
"""Fair coins that make a random integer: two of n equal ones have probability below n^2 / 2^63."""


@dataclass(frozen=True, kw_only=True)
class PairClipDpSgd:
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

    def gradient(self, model: DualEncoder, records: Records, public: Public) -> Gradients:
        """One private gradient of the trained parameters, by name."""
        sample = sample_patients(records, self.sampling_probability, self.randomness)
        studies = one_study_each(at_most(self.most_sampled, sample, self.randomness), self.randomness)
        total = self.clipped_sum(model, studies, public)
        deviation = self.noise_multiplier * self.sensitivity
        return {
            name: (value + deviation * self.randomness.standard_normal(value.shape).to(value)) / self.expected_patients
            for name, value in total.items()
        }

    def clipped_sum(self, model: DualEncoder, records: Records, public: Public) -> Gradients:
        """Sum of all pairs' clipped gradients; one patient moves it by at most `sensitivity`.

        Args:
            model: Two towers without common parameters, and the hash head.
            records: Exactly one study each of at most `most_sampled` patients.
            public: Prototypes and centres of the codes; the anchors are not read.

        Raises:
            ConfigError: The towers share parameters, or the model trains more than towers and hash head.
            ValueError: Several studies of a patient, or more patients than `most_sampled`.
        """
        if records.num_patients > self.most_sampled or records.num_patients < len(records.patients):
            raise ValueError("the sensitivity holds for one study each of at most `most_sampled` patients")
        _refuse_other_parameters(model)
        total = {name: torch.zeros_like(model.get_parameter(name)) for name in trainable_names(model)}
        if not records.num_patients:
            return total
        image_tower, report_tower = self._jacobian(model, model.image_tower), self._jacobian(model, model.report_tower)
        image_embedding, image = _side(image_tower, model.hash_head, records.images)
        report_embedding, report = _side(report_tower, model.hash_head, records.reports)
        good = image.finite_B() & report.finite_B()

        def code_shape(image_code: Tensor, report_code: Tensor) -> Tensor:
            pair = Embedded(image_embedding[good], image_code), Embedded(report_embedding[good], report_code)
            return self.objective.code_shape(*pair, public)

        image, report = image.rows(good), report.rows(good)
        cotangents = self._pairs(image_embedding.dtype).cotangents(image, report, code_shape)
        parts = {
            IMAGES: image_tower.pull_back(records.images[good], cotangents.image_BD.to(image_embedding)),
            REPORTS: report_tower.pull_back(records.reports[good], cotangents.report_BD.to(report_embedding)),
            HEAD: {"weight": cotangents.head_weight(image, report).to(image_embedding)},
        }
        for prefix, gradients in parts.items():
            for name, value in gradients.items():
                total[prefix + name] += value
        return total

    def _jacobian(self, model: DualEncoder, tower: Tower) -> TowerJacobian:
        return TowerJacobian(tower=tower, embedding_dim=model.hash_head.weight.shape[1], chunk_size=self.chunk_size)

    def _pairs(self, dtype: torch.dtype) -> ClippedPairs:
        return ClippedPairs(
            contrast=_pair_loss(self.objective),
            expected_patients=self.expected_patients,
            code_weight=self.objective.code.weight,
            positive_clip=self.clip_norm,
            negative_clip=self.negative_clip * self.clip_norm / self.most_sampled,
            rounding=max(16 * torch.finfo(dtype).eps, SQUARED_ROUNDING),
            block_size=self.chunk_size,
        )


def at_most(most: int, records: Records, randomness: Randomness) -> Records:
    """All studies of the patients, or of `most` of them, uniformly at random, where there are more."""
    if records.num_patients <= most:
        return records
    chosen = torch.zeros(records.num_patients, dtype=torch.bool)
    chosen[_random_order(records.num_patients, randomness)[:most]] = True
    kept = chosen.to(records.patients.device)[records.patients]
    numbers = torch.cumsum(chosen, dim=0).to(records.patients.device) - 1
    return Records(records.images[kept], records.reports[kept], numbers[records.patients[kept]])


def one_study_each(records: Records, randomness: Randomness) -> Records:
    """One study of each patient, uniformly at random and independently of the other patients."""
    order = _random_order(len(records.patients), randomness).to(records.patients.device)
    by_patient = order[torch.argsort(records.patients[order], stable=True)]
    studies = records.studies_of_each()
    rows = by_patient[studies.cumsum(dim=0) - studies]
    return Records(records.images[rows], records.reports[rows], records.patients[rows])


def _random_order(number: int, randomness: Randomness) -> Tensor:
    """A uniformly random order of 0..number-1: fair coins make random integers, and those are sorted."""
    coins = randomness.participants(number * _COINS, 0.5).view(number, _COINS)
    return torch.argsort((coins.long() << torch.arange(_COINS)).sum(dim=1))


def _side(tower: TowerJacobian, head: HashHead, features: Tensor) -> tuple[Tensor, Side]:
    """Embeddings in the tower's precision, and what pairs need of them in float64."""
    embedding, gram = tower.embed(features)
    exact = embedding.double()
    code = torch.tanh(exact @ head.weight.detach().double().T)
    return embedding, Side(embedding_BD=exact, gram_BDD=gram, code_BK=code)


def _pair_loss(objective: Objective) -> PairLoss:
    if not isinstance(objective.contrast, PairLoss):
        raise ConfigError("loss.name: this loss is no sum over pairs; use loss.name=pair_clip")
    return objective.contrast


def _refuse_other_parameters(model: DualEncoder) -> None:
    """Refuse parameters that the norms of pairs do not know of, or know of twice.

    Raises:
        ConfigError: The towers share trained parameters, or something else than the towers and the hash head trains.
    """
    towers = [
        {id(p) for p in tower.parameters() if p.requires_grad} for tower in (model.image_tower, model.report_tower)
    ]
    others = [
        name for name in trainable_names(model) if not name.startswith((IMAGES, REPORTS)) and name != HEAD + "weight"
    ]
    if towers[0] & towers[1] or others or not model.hash_head.weight.requires_grad:
        raise ConfigError(
            "encoder.name: loss.name=pair_clip needs an image tower and a report tower without common parameters, and "
            "one hash head; use loss.name=anchor_contrast"
        )
