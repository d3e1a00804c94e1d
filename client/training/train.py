"""Local training: K optimizer steps from the global model, and the update that they make.

Under privacy every step's gradient comes from the DP engine; without it, from the same patients' mean without clip
or noise. The anchors' own gradient is added to a private one: it is public, costs nothing, and steadies the noise.

FedProx (Li et al., MLSys 2020, arXiv 1812.06127) adds (weight / 2) |w - w_global|^2 to what a site minimises, against
drift between sites. Its gradient, weight (w - w_global), is made of the round's global model and of steps that were
already noised: it is post-processing, and changes neither sensitivity nor noise nor what is charged. It pulls as long
as weight times learning rate is below 1; above 2 it throws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from client.dp.engine import PatientDpSgd
from client.dp.grid_noise import GridNoise
from client.dp.pair_clip import PairClipDpSgd
from client.dp.paths.interface import autocast, embedded
from client.dp.randomness import Noise, Randomness
from client.dp.records import Gradients, PrivateStudies, Records, sample_patients
from client.dp.round_noise import RoundNoise
from client.dp.step import GradientSource, Sampler
from client.dp.views import Views
from client.site import Site
from client.training.ahead import drawn_ahead
from common.adversarial.hardening import NO_HARDENING, Hardening, hardening_of
from common.config.schema import RunConfig
from common.encoders.adversary import FORGETTING
from common.encoders.dual import DualEncoder, trainable_names
from common.errors import LedgerError
from common.hashing.nested import drawn_width
from common.losses.composition import compares_views
from common.losses.in_batch import InBatchContrast
from common.losses.objective import Objective, build_objective
from common.losses.public import Public, embed_public
from common.privacy.bands import middle_of
from common.privacy.events import TruncatedSampledGaussian
from common.privacy.plan import expected_patients
from common.seeds import numpy_generator, torch_generator
from common.wire.update import NamedArrays, load_into

ADVERSARY = "adversary.weight"
"""Name of the adversary's parameter."""


def train(
    site: Site, arrays: NamedArrays, *, round_number: int, round_noise: RoundNoise | None = None
) -> dict[str, NDArray[Any]]:
    """Train from the global model's arrays and return new minus old trained parameters.

    Args:
        site: Who trains.
        arrays: The global model.
        round_number: The round.
        round_noise: What other sites share of the noise; None where all of it is the site's own.

    Raises:
        ConfigError: The loss couples records and the run is private.
        AdmissionError: The arrays are not those of the site's model.
        LedgerError: The run's noise is to be shared, and with whom was not said.
        DataError: The studies cannot be read any more.
    """
    model, config = site.model, site.config
    load_into(model, arrays)
    model.train()
    names = trainable_names(model)
    parameters = [model.get_parameter(name) for name in names]
    privacy = site.privacy
    learning_rate = config.training.learning_rate if privacy is None else privacy.learning_rate
    optimizer = _optimizer(config.training.optimizer, parameters, learning_rate)
    objective = build_objective(config.loss, config.code)
    source = gradient_source(site, objective, round_number=round_number, round_noise=round_noise)
    generator = torch_generator(config.seed, "anchors", site.name, round_number)
    chance = numpy_generator(config.seed, "anchors' words", site.name, round_number)
    progress = (round_number - 1) / max(config.federation.rounds - 1, 1)
    start = {name: parameter.detach().clone() for name, parameter in zip(names, parameters, strict=True)}
    with drawn_ahead(source, model, site.private, num_steps=config.training.steps_per_round) as steps:
        for drawn in steps:
            public = embed_public(model, *site.anchors.draw(config.loss.num_anchors, generator), progress=progress)
            public = public.prefix(drawn_width(config.code, generator))
            gradients = source.gradient_of(model, drawn.sample, public, drawn.noise)
            if privacy is not None and privacy.public_weight:
                of_anchors = _public_gradient(site, objective, public, generator, chance)
                _add(gradients, of_anchors, privacy.public_weight)
            if config.training.proximal_weight:
                _add(gradients, _drift(model, start), config.training.proximal_weight)
            if model.adversary is not None:
                _add(gradients, {ADVERSARY: model.adversary.weight.detach()}, FORGETTING)
            for name, parameter in zip(names, parameters, strict=True):
                parameter.grad = gradients[name]
            optimizer.step()
    optimizer.zero_grad()
    return {name: model.get_parameter(name).detach().cpu().numpy() - arrays[name] for name in names}


def views_of(config: RunConfig) -> Views:
    """The views that a step of a run reads."""
    return Views(config.training.augmentations, compared=compares_views(config.loss))


def gradient_source(
    site: Site, objective: Objective, *, round_number: int, round_noise: RoundNoise | None = None
) -> GradientSource:
    """The source that the run's privacy and loss ask for.

    Raises:
        LedgerError: The run's noise is to be shared, and with whom was not said: it would be too little.
    """
    training, randomness = site.config.training, site.randomness(round_number)
    views = views_of(site.config)
    if site.privacy is None:
        return PlainGradient(
            objective=objective,
            sampling_probability=training.sampling_probability,
            expected_patients=expected_patients(site.config, middle_of(site.patients_band)),
            randomness=randomness,
            precision=training.precision,
            views=views,
            view_generator=numpy_generator(site.config.seed, "views", site.name, round_number),
            hardening=hardening_of(site.config),
        )
    if (site.privacy.pair_law is None) != (round_noise is None):
        raise LedgerError(f"{site.name}: the run's noise is to be shared, and with whom was not said; nothing is drawn")
    event = site.privacy.event
    if isinstance(event, TruncatedSampledGaussian):
        return PairClipDpSgd(
            objective=objective,
            sampling_probability=event.sampling_probability,
            clip_norm=site.privacy.clip_norm,
            negative_clip=site.config.loss.negative_clip,
            noise_multiplier=event.noise_multiplier,
            expected_patients=site.privacy.expected_patients,
            most_sampled=event.most_sampled,
            most_patients=event.most_patients,
            chunk_size=training.chunk_size,
            randomness=randomness,
        )
    return PatientDpSgd(
        objective=objective,
        sampling_probability=event.sampling_probability,
        clip_norm=site.privacy.clip_norm,
        noise_multiplier=event.noise_multiplier,
        expected_patients=site.privacy.expected_patients,
        chunk_size=training.chunk_size,
        randomness=randomness,
        clipping=site.config.privacy.clipping,
        gradients=training.gradients,
        precision=training.precision,
        views=views,
        hardening=hardening_of(site.config),
        round_noise=round_noise,
    )


@dataclass(frozen=True, kw_only=True)
class PlainGradient(GradientSource):
    """The gradient without privacy: the same Poisson sample and patient means, neither clipped nor noised.

    Attributes:
        objective: What is minimised.
        sampling_probability: Probability that a patient joins a step.
        expected_patients: Normaliser.
        randomness: Source of the sample.
        precision: Of the forward and backward pass.
        views: Views of each study.
        view_generator: Source of the views, and of what chance does to words.
        hardening: How studies are changed against their own codes.
    """

    objective: Objective
    sampling_probability: float
    expected_patients: float
    randomness: Randomness
    precision: str
    views: Views
    view_generator: np.random.Generator
    hardening: Hardening = NO_HARDENING

    def sampler(self, model: DualEncoder, records: PrivateStudies) -> Sampler:  # noqa: ARG002 - for every model the same
        """See `GradientSource`: all in one."""
        self.views.refuse_features(records.rows(slice(0)).images)

        def sample(reader: Executor) -> Iterable[Records]:  # noqa: ARG001 - nothing follows
            sampled = sample_patients(records, self.sampling_probability, self.randomness)
            return [self.views.of(sampled, self.view_generator).rows(slice(None))]

        return sample

    def noise(self, num_values: int) -> Noise:  # noqa: ARG002 - there is none
        """See `GradientSource`: nothing is drawn."""
        return GridNoise(None, 0.0)

    def gradient_of(
        self,
        model: DualEncoder,
        sample: Iterable[Records],
        public: Public,
        noise: Callable[[], Noise],  # noqa: ARG002 - there is none
    ) -> Gradients:
        """See `GradientSource`."""
        (studies,) = sample
        names = trainable_names(model)
        parameters = [model.get_parameter(name) for name in names]
        if not studies.num_patients:
            return {name: torch.zeros_like(p) for name, p in zip(names, parameters, strict=True)}
        weight = (1.0 / studies.studies_of_each())[studies.patients]
        if studies.weights is not None:
            weight = weight * studies.weights.to(weight)
        images, reports = self.hardening.hardened(model, studies.images, studies.reports, self.view_generator)
        hardened = replace(studies, images=images, reports=reports)
        with autocast(self.precision, studies.images.device):
            values = self.objective(*embedded(model, hardened), public, studies.groups)
        total = (values * weight).sum() / self.expected_patients
        return dict(zip(names, torch.autograd.grad(total, parameters), strict=True))


def _public_gradient(
    site: Site, objective: Objective, public: Public, generator: torch.Generator, chance: np.random.Generator
) -> Gradients:
    fit = site.config.public_fit
    batch = site.anchors.draw_patients(fit.batch_size, generator)
    in_batch = objective.of_public(InBatchContrast(temperature=site.config.loss.temperature))
    names = trainable_names(site.model)
    image, report = site.model(*hardening_of(site.config).hardened(site.model, *batch, chance))
    value = in_batch(image, report, public).mean()
    parameters = [site.model.get_parameter(name) for name in names]
    # The anchors' groups are not known: of an adversary nothing is asked.
    return dict(zip(names, torch.autograd.grad(value, parameters, materialize_grads=True), strict=True))


def _drift(model: DualEncoder, start: Gradients) -> Gradients:
    """How far each trained parameter is from where the round began."""
    return {name: model.get_parameter(name).detach() - value for name, value in start.items()}


def _add(gradients: Gradients, others: Gradients, weight: float) -> None:
    for name, other in others.items():
        gradients[name] = gradients[name] + weight * other


def _optimizer(name: str, parameters: list[torch.nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    kinds: dict[str, type[torch.optim.SGD | torch.optim.Adam]] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    return kinds[name](parameters, lr=learning_rate)
