"""One differentially private step: sample patients, clip each one's gradient, add noise, divide by a public number.

Guarantee: `steps` calls are (epsilon, delta)-differentially private with the epsilon that the accountant
    gives for `PatientDpSgd.event(steps)` (Abadi et al., arXiv 1607.00133, with the patient as the unit).
Unit of privacy: the patient. All studies of a patient are averaged before the clip.
Neighbouring relation: add or remove one patient. The number of patients never enters the result: the normaliser is the
    public `expected_patients`.
Sensitivity: `clip_norm`. A record's value reads that record and public quantities alone; an objective that couples
    records is refused.
Edge cases: an empty sample still adds noise; a record whose gradient is not finite counts as zero, so that one broken
    study neither destroys the model nor moves the sum by more than the clip; noise multiplier 0 gives no privacy.

Shapes: R records of a chunk, P trained parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from client.dp.randomness import Randomness
from client.dp.records import Gradients as Gradients
from client.dp.records import Records as Records
from client.dp.records import chunks_of_patients
from client.dp.records import sample_patients as sample_patients
from common.encoders.dual import DualEncoder, Embedded, trainable_names
from common.losses.objective import Objective, Public, refuse_coupled
from common.privacy.events import SampledGaussian

@dataclass(frozen=True, kw_only=True)
class PatientDpSgd:
    """Sampler, per-record gradients, clip, noise and privacy event, bundled so that they cannot drift apart.

    Attributes:
        objective: What is minimised; must not couple records.
        sampling_probability: Probability that a patient joins a step; public.
        clip_norm: Bound C on a patient's gradient.
        noise_multiplier: Standard deviation of the noise over C.
        expected_patients: Public normaliser; never the actual number.
        chunk_size: Studies differentiated at once; bounds the memory at about `chunk_size` times P values.
        randomness: Source of sampling and noise.

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

    def __post_init__(self) -> None:
        refuse_coupled(self.objective)

    def event(self, steps: int) -> SampledGaussian:
        """The privacy event of `steps` calls of `gradient`."""
        return SampledGaussian(
            noise_multiplier=self.noise_multiplier, sampling_probability=self.sampling_probability, steps=steps
        )

    def gradient(self, model: DualEncoder, records: Records, public: Public) -> Gradients:
        """One private gradient of the trained parameters, by name."""
        sample = sample_patients(records, self.sampling_probability, self.randomness)
        total = self.clipped_sum(model, sample, public)
        deviation = self.noise_multiplier * self.clip_norm
        return {
            name: (value + deviation * self.randomness.standard_normal(value.shape).to(value)) / self.expected_patients
            for name, value in total.items()
        }

    def clipped_sum(self, model: DualEncoder, records: Records, public: Public) -> Gradients:
        """Sum over patients of their clipped mean gradients; removing one patient moves it by at most `clip_norm`."""
        trained = {name: model.get_parameter(name).detach() for name in trainable_names(model)}
        frozen = {name: value for name, value in model.state_dict().items() if name not in trained}

        def value(parameters: Gradients, image: Tensor, report: Tensor) -> Tensor:
            inputs = (image.unsqueeze(0), report.unsqueeze(0))
            pair: tuple[Embedded, Embedded] = functional_call(model, {**parameters, **frozen}, inputs)
            return self.objective(*pair, public).squeeze(0)

        per_record = vmap(grad(value), in_dims=(None, 0, 0))
        total = {name: torch.zeros_like(parameter) for name, parameter in trained.items()}
        for chunk in chunks_of_patients(records, self.chunk_size):
            gradients = _finite(per_record(trained, chunk.images, chunk.reports))
            for name, clipped in self._clip(_mean_by_patient(gradients, chunk)).items():
                total[name] += clipped
        return total

    def _clip(self, by_patient: Gradients) -> Gradients:
        squares = sum(value.flatten(1).square().sum(dim=1) for value in by_patient.values())
        scale = (self.clip_norm / torch.as_tensor(squares).sqrt().clamp(min=1e-12)).clamp(max=1.0)
        return {name: torch.einsum("r,r...->...", scale, value) for name, value in by_patient.items()}


def _finite(gradients: Gradients) -> Gradients:
    """Gradients with every record that holds a non-finite number set to zero."""
    good = torch.stack([value.flatten(1).isfinite().all(dim=1) for value in gradients.values()]).all(dim=0)
    return {name: torch.where(good.view(-1, *[1] * (value.dim() - 1)), value, 0.0) for name, value in gradients.items()}


def _mean_by_patient(gradients: Gradients, chunk: Records) -> Gradients:
    studies = torch.bincount(chunk.patients)
    weight = (1.0 / studies)[chunk.patients]
    return {
        name: torch.zeros(len(studies), *value.shape[1:], dtype=value.dtype, device=value.device).index_add_(
            0, chunk.patients, torch.einsum("r,r...->r...", weight.to(value), value)
        )
        for name, value in gradients.items()
    }
