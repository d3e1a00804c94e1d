"""Whether the server can rebuild a study from what one hospital sends.

Pictures are attacked in a scratch encoder all of whose parameters train, whatever the config's own is: that is where an
update holds them (`gradient_inversion_patches.py`). It starts at random: the server chooses the start. Where the config
trains a linear map behind a frozen part, its features are attacked too (`gradient_inversion_features.py`): no picture
comes out of those, and what counts is whether they point to the study.

A study is *recognised* where what was rebuilt is nearer to it than to three of four unrelated studies of the same
hospital, the lower end of the interval over patients counting. The same is done without privacy, which must recognise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from common.encoders.whitened_head import WhitenedHead
from common.fairness.intervals import Interval, patient_bootstrap
from common.seeds import numpy_generator
from simulations.adversarial.visibility import ssim
from simulations.audits.privacy.gradient_inversion_features import features_seen, likeness, read_direction
from simulations.audits.privacy.gradient_inversion_patches import PATCHES, ROUNDING, Prior, noise_in, rebuilt_patches
from simulations.audits.privacy.gradient_inversion_updates import ROUND, STEP, Seen, seen_of_patients
from simulations.audits.privacy.interface import Check, Curve, Measured, Picture, Plot
from simulations.audits.privacy.membership import delta_stated, without_privacy
from simulations.audits.privacy.membership_bounds import CONFIDENCE, epsilon_shown
from simulations.audits.privacy.pipeline import Pipeline
from simulations.audits.privacy.subject import Subject, prepare_subject

NUM_PATIENTS, NUM_OTHERS = 18, 20
NUM_RESAMPLES = 1000
RECOGNISED = 0.75
NUM_SHOWN = 3
PICTURE, FEATURES = "picture", "features"


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """How near to the truth what was rebuilt is.

    Attributes:
        of: `PICTURE` or `FEATURES`.
        update: `STEP` or `ROUND`.
        num_patients: That were attacked.
        truth: Mean likeness to the study: structural similarity of pictures, cosine of features.
        unrelated: The same to unrelated ones.
        area: Probability that the study is nearer than an unrelated one, ties half. 0.5: chance.
        interval: Of it, 95%, over patients.
    """

    of: str
    update: str
    num_patients: int
    truth: float
    unrelated: float
    area: float
    interval: Interval

    @property
    def is_recognised(self) -> bool:
        """Whether studies are."""
        return self.interval.low > RECOGNISED


@dataclass(frozen=True)
class _Likeness:
    truth: float
    unrelated_O: Tensor

    @property
    def area(self) -> float:
        nearer = (self.unrelated_O < self.truth).double() + (self.unrelated_O == self.truth).double() / 2
        return float(nearer.mean())


def pictures_subject(subject: Subject) -> Subject:
    """The same cohort under a scratch encoder that trains as a whole, from a random start.

    Raises:
        WardroundError: The studies cannot be read.
    """
    config = subject.config
    return prepare_subject(
        replace(
            config,
            encoder=replace(config.encoder, name="scratch", trainable="all"),
            public_fit=replace(config.public_fit, steps=0),
            training=replace(config.training, optimizer="sgd", augmentations=1, gradients="auto"),
            privacy=replace(config.privacy, calibrate=False, cohort={}),
        ),
        progress=lambda _: None,
    )


def inverted(
    pipeline: Pipeline, subject: Subject, *, num_patients: int = NUM_PATIENTS
) -> tuple[list[Rebuilt], list[Picture]]:
    """Rebuild studies of a subject's patients, of one step and of a round; the first few beside the truth.

    Returns:
        Nothing where the model is of neither kind that can be attacked.
    """
    found: dict[tuple[str, str], list[_Likeness]] = {}
    pictures: list[Picture] = []
    if not _kind(subject):
        return [], []
    prior = _prior(subject) if _kind(subject) == PICTURE else None
    for number, seen in enumerate(
        seen_of_patients(pipeline, subject, num_patients=num_patients, num_others=NUM_OTHERS)
    ):
        for update in (STEP, ROUND):
            if prior is None:
                likeness_ = _of_features(subject, seen, update)
            else:
                picture = _rebuilt(subject, seen, update, prior)
                likeness_ = _of_picture(picture, seen, prior)
                if number < NUM_SHOWN and update == STEP:
                    pictures += [
                        Picture(f"study {number + 1}: the truth", _grey(seen.records.images[0])),
                        Picture(f"rebuilt from {update}", _grey(picture)),
                    ]
            found.setdefault((_kind(subject), update), []).append(likeness_)
    return [_summed(of, update, each, subject.seed) for (of, update), each in found.items()], pictures


def _kind(subject: Subject) -> str:
    if PATCHES in dict(subject.model.named_parameters()) and not isinstance(subject.model.image_tower, WhitenedHead):
        return PICTURE
    return FEATURES if isinstance(subject.model.image_tower, WhitenedHead) else ""


def _prior(subject: Subject) -> Prior:
    return Prior.of(subject.consortium.public().images, patch_size=subject.config.encoder.patch_size)


def _rebuilt(subject: Subject, seen: Seen, update: str, prior: Prior) -> Tensor:
    rounding = ROUNDING * float(subject.model.get_parameter(PATCHES).detach().abs().max())
    deviation = max(noise_in(seen.updates[update]), rounding)
    return prior.picture(rebuilt_patches(seen.updates[update], prior, deviation=deviation))


def _of_picture(picture_HH: Tensor, seen: Seen, prior: Prior) -> _Likeness:
    def each(pictures_BHH: Tensor) -> Tensor:
        return torch.tensor([ssim(picture_HH[None], one[None]) for one in prior.as_seen(pictures_BHH)])

    return _Likeness(float(each(seen.records.images).mean()), each(seen.others.images))


def _of_features(subject: Subject, seen: Seen, update: str) -> _Likeness:
    head = subject.model.image_tower
    if not isinstance(head, WhitenedHead):
        raise TypeError("features are read off a whitened head alone")
    direction = read_direction(seen.updates[update])
    own, others = (likeness(direction, features_seen(head, some.images)) for some in (seen.records, seen.others))
    return _Likeness(float(own.mean()), others)


def _summed(of: str, update: str, found: list[_Likeness], seed: int) -> Rebuilt:
    areas = np.array([one.area for one in found])
    return Rebuilt(
        of=of,
        update=update,
        num_patients=len(found),
        truth=float(np.mean([one.truth for one in found])),
        unrelated=float(np.mean([one.unrelated_O.mean() for one in found])),
        area=float(areas.mean()),
        interval=patient_bootstrap(
            areas,
            [str(i) for i in range(len(areas))],
            generator=numpy_generator(seed, "audit", "inversion", of, update),
            num_resamples=NUM_RESAMPLES,
        ),
    )


def _grey(picture_HH: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    grey: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = picture_HH.double().round().clamp(0, 255).byte().numpy()
    return grey


def measure(pipeline: Pipeline, subject: Subject) -> Measured:
    """Rebuild studies under the run's privacy, and without.

    Raises:
        WardroundError: The studies cannot be read.
    """
    subjects = [one for one in (pictures_subject(subject), subject) if _kind(one)]
    open_, open_pictures = _all(pipeline, [without_privacy(one) for one in subjects])
    epsilon = subject.config.privacy.epsilon
    has_power = any(one.is_recognised for one in open_ if one.update == STEP)
    if epsilon is None:
        return Measured(
            holds=None,
            sentence=f"The run has no privacy. {_sentence(open_)}",
            power=_power(open_),
            plots=(_plot({"no privacy": open_}),),
            pictures=tuple(open_pictures),
        )
    own, own_pictures = _all(pipeline, subjects)
    recognised = [one for one in own if one.is_recognised]
    shown = max(epsilon_shown(one.interval, delta_stated(subject)) / 2 for one in own if one.update == ROUND)
    return Measured(
        holds=False if recognised or shown > epsilon else (True if has_power else None),
        sentence=f"At epsilon {epsilon:g}: {_sentence(own)}",
        power=_power(open_),
        claimed_epsilon=epsilon,
        lower_bound=shown,
        confidence=CONFIDENCE,
        plots=(_plot({f"epsilon {epsilon:g}": own, "no privacy": open_}),),
        pictures=tuple(_beside(open_pictures, own_pictures, epsilon)),
    )


def _all(pipeline: Pipeline, subjects: list[Subject]) -> tuple[list[Rebuilt], list[Picture]]:
    found: list[Rebuilt] = []
    pictures: list[Picture] = []
    for one in subjects:
        rebuilt, shown = inverted(pipeline, one)
        found, pictures = found + rebuilt, pictures + shown
    return found, pictures


def _beside(open_: list[Picture], own: list[Picture], epsilon: float) -> Iterator[Picture]:
    """The truth, what came of it without privacy, and with."""
    for truth, without, under in zip(open_[::2], open_[1::2], own[1::2], strict=True):
        yield truth
        yield Picture(f"{without.label}, no privacy", without.pixels_HW)
        yield Picture(f"{under.label}, epsilon {epsilon:g}", under.pixels_HW)


def _sentence(found: list[Rebuilt]) -> str:
    return " ".join(
        f"From {one.update} of one patient, {one.of}: {one.truth:.2f} like the study and {one.unrelated:.2f} like "
        f"unrelated ones, nearer to it in {one.area:.0%} ({one.interval.low:.0%} to "
        f"{one.interval.high:.0%}; a guess: 50%): {'recognised' if one.is_recognised else 'not recognised'}."
        for one in found
    )


def _power(without: list[Rebuilt]) -> str:
    parts = "; ".join(f"{one.of} from {one.update}: nearer in {one.area:.0%}" for one in without)
    return (
        f"Without noise the same attack, on {without[0].num_patients} patients with the fewest studies, finds {parts}. "
        "Each is attacked as if the server knew all other patients. A patient of many studies is a blend of them."
    )


def _plot(found: dict[str, list[Rebuilt]]) -> Plot:
    return Plot(
        title="How often what was rebuilt is nearer to the study than to an unrelated one",
        x=", ".join(f"{i}: {one.of}, {one.update}" for i, one in enumerate(next(iter(found.values())))),
        y="share (0.5 is a guess)",
        curves=tuple(
            Curve(
                label=label,
                x=tuple(float(i) for i in range(len(each))),
                y=tuple(one.area for one in each),
                low=tuple(one.interval.low for one in each),
                high=tuple(one.interval.high for one in each),
            )
            for label, each in found.items()
        ),
    )


CHECK = Check(
    name="gradient-inversion",
    question="Can the server rebuild a study from what one hospital sends?",
    claim="What a hospital sends under privacy shows no study: neither its picture nor its features.",
    measure=measure,
)
