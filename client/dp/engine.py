"""One differentially private step: sample patients, clip each one's gradient, add noise, divide by a public number.

Guarantee: `steps` calls are (epsilon, delta)-differentially private with the epsilon that the accountant
    gives for `PatientDpSgd.event(steps)` (Abadi et al., arXiv 1607.00133, with the patient as the unit).
Unit of privacy: the patient. All studies of a patient, whatever they lack, and all views of them, are averaged before
    the clip. A study of several images is read with one of them, drawn for it alone: whichever it is, the patient's
    mean is clipped, and the other patients' draws do not read it; the guarantee holds for every outcome of them, and so
    for their mixture.
Neighbouring relation: add or remove one patient. The number of patients never enters the result: the normaliser is the
    public `expected_patients`.
Sensitivity: `clip_norm`, and `clip_norm * (1 + ROUNDING_MARGIN)` in floating point, which the noise is scaled to. A
    record's value reads that record and public quantities alone; an objective that couples records is refused.
Adversarial training: a study may be learnt from as changed against its own code (`common/adversarial/hardening.py`).
    The change reads that study, the model and public numbers, and for words chance of the system's entropy that is
    drawn for that study; it is a part of the study's own gradient, before the clip.
Emphasis: a patient may be sampled more rarely than `sampling_probability`, which is what is charged (the reason stands
    in `client/dp/records.py`), or weighed down by a factor of at most 1 after the clip, so that the sensitivity stays
    the clip norm. Either follows from the patient's own group and public numbers. A weight before the clip would be
    undone by it, where gradients are longer than the clip, as most are.
Shared noise: part of it may be shared with other sites (`common/pair_noise/law.py`); the guarantee is then the same
    against the server and as many members together as the law says.
Edge cases: an empty sample still adds noise; a record whose gradient is not finite counts as zero, so that one broken
    study neither destroys the model nor moves the sum by more than the clip; noise multiplier 0 gives no privacy.

Shapes: R records of a chunk, G patients of a chunk, L trained parameters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from client.dp.clipping import CLIPPINGS, ROUNDING_MARGIN
from client.dp.paths.choice import path_for
from client.dp.paths.interface import Differentiation, GradientPath, Materialised, PatientGradients
from client.dp.randomness import Noise, Randomness
from client.dp.records import ChunksAhead, Gradients, PrivateStudies, Records, chunks_of_patients, sample_patients
from client.dp.refusals import refuse_unsound
from client.dp.round_noise import RoundNoise
from client.dp.step import GradientSource, Sampler, noised_mean
from client.dp.views import NO_VIEWS, Views
from common.adversarial.hardening import NO_HARDENING, Hardening
from common.encoders.dual import DualEncoder, trainable_names
from common.losses.objective import Objective, refuse_coupled
from common.losses.public import Public
from common.privacy.events import SampledGaussian

_log = logging.getLogger("wardround.site")


@dataclass(frozen=True, kw_only=True)
class PatientDpSgd(GradientSource):
    """Sampler, per-record gradients, clip, noise and privacy event, bundled so that they cannot drift apart.

    Attributes:
        objective: What is minimised; must not couple records.
        sampling_probability: Probability that a patient joins a step; public.
        clip_norm: Bound C on a patient's gradient.
        noise_multiplier: Standard deviation of the noise over the sensitivity; of shared noise, what it is worth.
        expected_patients: Public normaliser; never the actual number.
        chunk_size: Studies differentiated at once; bounds the memory at about `chunk_size` gradients.
        randomness: Source of sampling and noise.
        clipping: Rule of the clip, `flat` or `per_layer`.
        gradients: How a patient's gradient is found: `auto`, `vmap`, `linear` or `ghost`.
        precision: Of the forward and backward pass; clip, sum and noise are float32 or better.
        views: Views of each study, averaged before the clip.
        hardening: How studies are changed against their own codes.
        round_noise: What other sites share of the noise; None where all of it is the site's own.

    Raises:
        ConfigError: The objective couples records.
    """

    objective: Objective
    sampling_probability: float
    clip_norm: float
    noise_multiplier: float
    expected_patients: float
    chunk_size: int
    randomness: Randomness
    clipping: str = "flat"
    gradients: str = "auto"
    precision: str = "float32"
    views: Views = NO_VIEWS
    hardening: Hardening = NO_HARDENING
    round_noise: RoundNoise | None = None

    def __post_init__(self) -> None:
        refuse_coupled(self.objective)

    def event(self, steps: int) -> SampledGaussian:
        """The privacy event of `steps` calls of `gradient`."""
        return SampledGaussian(
            noise_multiplier=self.noise_multiplier, sampling_probability=self.sampling_probability, steps=steps
        )

    def sampler(self, model: DualEncoder, records: PrivateStudies) -> Sampler:
        """See `GradientSource`: chunk after chunk, so that memory does not grow with the sample."""
        nobody = records.rows(slice(0))
        self.views.refuse_features(nobody.images)
        chunk_size = self.path(model).chunk_size(nobody, self.chunk_size)

        def sample(reader: Executor) -> Iterable[Records]:
            sampled = sample_patients(records, self.sampling_probability, self.randomness)
            return ChunksAhead(self.views.secret(sampled), chunk_size, reader)

        return sample

    def noise(self, num_values: int) -> Noise:
        """See `GradientSource`."""
        sensitivity = self.clip_norm * (1 + ROUNDING_MARGIN)
        if self.round_noise is None:
            return self.randomness.noise(num_values, standard_deviation=self.noise_multiplier * sensitivity)
        return self.randomness.noise(
            num_values,
            standard_deviation=self.round_noise.law.own(self.noise_multiplier) * sensitivity,
            parts=self.round_noise.next_step(),
        )

    def gradient_of(
        self, model: DualEncoder, sample: Iterable[Records], public: Public, noise: Callable[[], Noise]
    ) -> Gradients:
        """See `GradientSource`."""
        return noised_mean(self._sum_over(sample, model, public), noise(), self.expected_patients)

    def clipped_sum(self, model: DualEncoder, records: Records, public: Public) -> Gradients:
        """Sum over patients of their clipped mean gradients; removing one patient moves it by at most `clip_norm`.

        Raises:
            ConfigError: The model couples records or cannot be differentiated one record at a time.
        """
        chunk_size = self.path(model).chunk_size(records, self.chunk_size)
        return self._sum_over(chunks_of_patients(records, chunk_size), model, public)

    def _sum_over(self, chunks: Iterable[Records], model: DualEncoder, public: Public) -> Gradients:
        refuse_unsound(model)
        step = _Step(self, model, public)
        for chunk in chunks:
            step.add(chunk)
        if step.num_not_finite:
            _log.warning("%d gradients of studies were not finite and count as zero", step.num_not_finite)
        return step.total

    def path(self, model: DualEncoder) -> GradientPath:
        """How a patient's gradient of this model is found.

        Raises:
            ConfigError: The path is unknown or cannot differentiate the model.
        """
        differentiation = Differentiation(objective=self.objective, precision=self.precision)
        return path_for(self.gradients, model, differentiation)


class _Step:
    """The running sum of one step, in float64 so that its error does not grow with the number of chunks."""

    def __init__(self, engine: PatientDpSgd, model: DualEncoder, public: Public) -> None:
        self._path = engine.path(model)
        self._configured = engine.chunk_size
        self._clipping = CLIPPINGS.load(engine.clipping)(engine.clip_norm)
        self._model, self._public = model, public
        self._hardening = engine.hardening
        self.total = {
            name: torch.zeros_like(model.get_parameter(name), dtype=torch.float64, requires_grad=False)
            for name in trainable_names(model)
        }
        self.num_not_finite = 0

    def add(self, chunk: Records) -> None:
        weight_R = (1.0 / chunk.studies_of_each())[chunk.patients]
        chunk_size = self._path.chunk_size(chunk, self._configured)
        if len(chunk.patients) <= chunk_size:
            gradients = self._gradients(chunk, weight_R)
        else:
            gradients = self._of_one_patient(chunk, weight_R, chunk_size)
        self.num_not_finite += gradients.num_not_finite
        squares_LG = torch.stack([part.squares().double() for part in gradients.parts])
        scales_LG = self._clipping.scales(squares_LG)
        counted_G = chunk.weight_of_each()
        if counted_G is not None:
            scales_LG = scales_LG * counted_G
        for total, part, scale_G in zip(self.total.values(), gradients.parts, scales_LG, strict=True):
            total += part.weighted_sum(scale_G).view_as(total)

    def _gradients(self, chunk: Records, weight_R: Tensor) -> PatientGradients:
        secret = np.random.default_rng()
        images, reports = self._hardening.hardened(self._model, chunk.images, chunk.reports, secret)
        hardened = replace(chunk, images=images, reports=reports)
        return self._path.gradients(self._model, hardened, weight_R, self._public)

    def _of_one_patient(self, chunk: Records, weight_R: Tensor, chunk_size: int) -> PatientGradients:
        """The mean gradient of one patient who has more studies than a chunk holds, piece by piece."""
        mean = [torch.zeros_like(total, dtype=torch.float32).unsqueeze(0) for total in self.total.values()]
        num_not_finite = 0
        for rows in torch.arange(len(chunk.patients), device=weight_R.device).split(chunk_size):
            gradients = self._gradients(chunk.rows(rows), weight_R[rows])
            num_not_finite += gradients.num_not_finite
            for value, part in zip(mean, gradients.parts, strict=True):
                value += part.weighted_sum(weight_R.new_ones(1)).view_as(value)
        return PatientGradients([Materialised(value) for value in mean], num_not_finite)
