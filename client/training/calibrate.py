"""The settings of private training from public quantities alone (`privacy.calibrate`), so that no patient is touched.

Rate, steps, clip norm, learning rate and public weight decide what a budget buys. Chosen by looking at results on
patients they would cost privacy themselves (Papernot and Steinke, arXiv 2110.03620). Here they follow from the config,
the sites' public bands, the accountant and the anchors:

1. Steps: about `NUM_STEPS` in the whole run. More cost computing and next to no privacy.
2. Sampling probability: the least of `SAMPLING_PROBABILITIES` that makes at most `MOST_EXCESS` more noise than reading
   every patient in every step would, for the same distance travelled. Noise grows with the root of the steps and the
   distance with their number, so what counts is nu / sqrt(T), where nu is the deviation of a coordinate of the sites'
   mean gradient over the clip norm.
3. Clip norm: 1 for every run. Nearly every patient's gradient is longer, so that the clip gives it this length, and
   learning rate times clip norm is one setting, not two.
4. Learning rate: as long as the noise allows. After T steps noise alone has moved each trained coordinate of the
   towers by rate * C * nu * sqrt(T) (deviation of a random walk). The rate is the one at which that walk is
   `NOISE_SHARE` of the towers' own root mean square. No step is longer than one without privacy would be, for which
   the gradients of the anchors' patients are measured.
5. Public weight: the anchors' own gradient is summed over the run with a weight of `PUBLIC_TRAVEL` at the full noise
   share and in proportion below, since it is there to pull back what noise displaces.

The three constants of 4 and 5 were tuned on synthetic cohorts, see
`common/decisions/0014-calibration-on-public-data.md`.

Guarantee: a function of public arguments; it costs no epsilon. It reads the accountant, never a budget or a ledger.
Edge cases: a config without privacy or without rounds comes back as it is. The rule is for the mean of the sites'
updates; for other aggregators it is an approximation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import AnchorFeatures
from common.errors import ConfigError
from common.losses.objective import Objective, build_objective
from common.losses.public import Public, embed_public
from common.privacy.mean_noise import mean_noise, own_multipliers
from common.seeds import torch_generator

NUM_STEPS = 100
"""Steps of a run."""
SAMPLING_PROBABILITIES = (0.1, 0.2, 0.3, 0.5, 1.0)
"""Rates that are tried, cheapest first; the last reads every patient in every step."""
MOST_EXCESS = 0.125
"""How much more noise a cheaper rate may make than the last, as a share."""
CLIP_NORM = 1.0
"""Bound on a patient's gradient."""
NOISE_SHARE = 0.5
"""The noise's random walk over the run, over the towers' trained parameters."""
PUBLIC_TRAVEL = 8.0
"""Sum over the steps of learning rate times public weight, where the noise has its full share."""
MOST_PATIENTS_MEASURED = 64
"""Anchors' patients whose gradients are measured."""

HEADS = ("hash_head.", "adversary.")
"""Trained parts whose noise moves no embedding."""
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RateTrial:
    """What the accountant says of one sampling probability.

    Attributes:
        sampling_probability: Probability that a patient joins a step.
        noise_per_travel: nu / sqrt(T): noise of the whole run for the same distance travelled.
    """

    sampling_probability: float
    noise_per_travel: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A calibrated config and how it came about. All of it is public.

    Attributes:
        config: The config with its settings replaced, `privacy.calibrate` false.
        rates: The sampling probabilities that were tried.
        gradient_norm: Median norm of the anchors' patients' gradients at the public start; None where none was needed.
        noise_share: The noise's random walk over the run, over the towers' trained parameters; None likewise.
    """

    config: RunConfig
    rates: tuple[RateTrial, ...]
    gradient_norm: float | None
    noise_share: float | None

    def as_json(self) -> dict[str, Any]:
        """What was chosen, and what it follows from."""
        privacy, training = self.config.privacy, self.config.training
        return {
            "settings": {
                "training.steps_per_round": training.steps_per_round,
                "training.sampling_probability": training.sampling_probability,
                "privacy.clip_norm": privacy.clip_norm,
                "privacy.learning_rate": privacy.learning_rate,
                "privacy.public_weight": privacy.public_weight,
            },
            "rates": [asdict(rate) for rate in self.rates],
            "gradient_norm": self.gradient_norm,
            "noise_share": self.noise_share,
        }


def ignore_progress(what: str) -> None:
    """The progress callback that shows nothing."""


def calibrate(
    config: RunConfig,
    anchors: AnchorFeatures,
    model: DualEncoder,
    bands: Sequence[str],
    *,
    progress: Progress = ignore_progress,
) -> Calibration:
    """Choose the settings of private training. The same arguments give the same choice.

    Args:
        config: The run's configuration; its epsilon, delta and rounds stay.
        anchors: The public anchors, on the model's device.
        model: The model fitted to them; not changed.
        bands: Each site's public band of its training patients.
        progress: Told what is done next.

    Raises:
        ConfigError: The optimizer is not SGD, there is no site, or no noise reaches the epsilon.
    """
    chosen = copy.deepcopy(config)
    chosen.privacy.calibrate = False
    if config.privacy.epsilon is None or not config.federation.rounds:
        return Calibration(config=chosen, rates=(), gradient_norm=None, noise_share=None)
    _refuse_other_rules(config, bands)
    chosen.privacy.clip_norm = CLIP_NORM
    chosen.training.steps_per_round = max(1, round(NUM_STEPS / config.federation.rounds))
    rates = _choose_rate(chosen, bands, progress)
    progress("gradients of the anchors")
    gradient_norm = median_gradient_norm(config, anchors, model)
    noise_share = _choose_lengths(chosen, model, bands, gradient_norm)
    return Calibration(config=chosen, rates=rates, gradient_norm=gradient_norm, noise_share=noise_share)


def _refuse_other_rules(config: RunConfig, bands: Sequence[str]) -> None:
    if config.training.optimizer != "sgd":
        raise ConfigError(
            f"training.optimizer={config.training.optimizer}: privacy.calibrate knows how far noise moves a model "
            "under sgd alone; set training.optimizer=sgd, or privacy.calibrate=false and the settings by hand"
        )
    if not bands:
        raise ConfigError("privacy.calibrate: needs the patients band of each site, and there is no site")


def _choose_rate(chosen: RunConfig, bands: Sequence[str], progress: Progress) -> tuple[RateTrial, ...]:
    """Set the cheapest sampling probability whose noise is close to the least."""
    rates = []
    for probability in SAMPLING_PROBABILITIES:
        progress(f"noise at training.sampling_probability={probability}")
        chosen.training.sampling_probability = probability
        noise = mean_noise(chosen, bands)
        rates.append(RateTrial(sampling_probability=probability, noise_per_travel=noise / math.sqrt(_steps(chosen))))
    bound = (1 + MOST_EXCESS) * rates[-1].noise_per_travel
    chosen.training.sampling_probability = next(
        rate.sampling_probability for rate in rates if rate.noise_per_travel <= bound
    )
    return tuple(rates)


def _choose_lengths(chosen: RunConfig, model: DualEncoder, bands: Sequence[str], gradient_norm: float) -> float:
    """Set learning rate and public weight; the noise share that comes of them."""
    steps = _steps(chosen)
    walk = CLIP_NORM * mean_noise(chosen, bands) * math.sqrt(steps)  # for a learning rate of 1
    longest = chosen.training.learning_rate * max(gradient_norm / CLIP_NORM, 1.0)
    rate = min(NOISE_SHARE * tower_scale(model) / walk, longest)
    share = rate * walk / tower_scale(model)
    noise = _typical_noise(chosen, bands)
    # The plan divides the rate by a site's own noise and multiplies the weight by it.
    chosen.privacy.learning_rate = _rounded(rate * max(noise, 1.0))
    chosen.privacy.public_weight = _rounded(PUBLIC_TRAVEL * share / NOISE_SHARE / (rate * steps) / noise)
    return share


def tower_scale(model: DualEncoder) -> float:
    """Root mean square of the towers' trained parameters; the heads' noise moves no embedding."""
    names = [name for name in trainable_names(model) if not name.startswith(HEADS)]
    values = torch.cat([model.get_parameter(name).detach().flatten() for name in names])
    return float(values.square().mean().sqrt())


def median_gradient_norm(config: RunConfig, anchors: AnchorFeatures, model: DualEncoder) -> float:
    """Median norm of the gradients of some anchors' patients, contrasted with the other anchors."""
    generator = torch_generator(config.seed, "calibrate")
    objective = build_objective(config.loss, config.code)
    order = torch.randperm(int(anchors.patients.max()) + 1, generator=generator)
    measured = order[: min(MOST_PATIENTS_MEASURED, max(1, len(order) // 2))]
    others = ~torch.isin(anchors.patients, measured)
    rest = AnchorFeatures(anchors.images[others], anchors.reports[others], anchors.patients[others])
    public = embed_public(model, *rest.draw(config.loss.num_anchors, generator))
    norms = [_gradient_norm(model, objective, public, anchors, int(patient)) for patient in measured]
    return float(torch.tensor(norms).median())


def _gradient_norm(
    model: DualEncoder, objective: Objective, public: Public, anchors: AnchorFeatures, patient: int
) -> float:
    parameters = [model.get_parameter(name) for name in trainable_names(model)]
    rows = (anchors.patients == patient).nonzero().flatten()
    values: list[Tensor] = []
    for row in rows:  # one study at a time: a loss of pairs would couple a patient's own studies
        image, report = model(anchors.images[row : row + 1], anchors.reports[row : row + 1])
        # A view that is the image itself asks nothing: only studies have others.
        values.append(objective(image._replace(view=image), report, public))
    gradients = torch.autograd.grad(torch.cat(values).mean(), parameters, materialize_grads=True)
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


def _typical_noise(config: RunConfig, bands: Sequence[str]) -> float:
    """Root mean square of the sites' own noise multipliers."""
    return math.sqrt(sum(noise**2 for noise in own_multipliers(config, bands)) / len(bands))


def _steps(config: RunConfig) -> int:
    return config.training.steps_per_round * config.federation.rounds


def _rounded(value: float) -> float:
    """Three digits: no machine's last bit decides the config's digest."""
    return float(f"{value:.3g}")
