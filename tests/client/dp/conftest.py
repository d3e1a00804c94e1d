"""Models, records and an independent loop that the gradient paths are held against."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from client.dp.engine import PatientDpSgd
from client.dp.randomness import SeededRandomness
from client.dp.records import Gradients, Records
from common.config.load import load_config
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import fresh_model, split_frozen
from common.encoders.scratch import build
from common.losses.interface import TERMS
from common.losses.invariance import Invariance
from common.losses.objective import Objective, build_objective
from common.losses.public import Public, embed_public

CLIP = 0.5
TINY = (
    "encoder.embedding_dim=8",
    "encoder.image_size=16",
    "encoder.patch_size=8",
    "encoder.width=16",
    "encoder.image_depth=1",
    "encoder.report_depth=1",
    "encoder.num_heads=2",
    "encoder.max_tokens=8",
    "encoder.vocabulary=64",
    "encoder.lora_rank=2",
    "code.bit_width=48",
    "code.num_centres=4",
    "loss.temperature=0.1",
    "loss.name=" + "+".join(["anchor_contrast", *TERMS.names]),
)


@dataclass(frozen=True)
class Case:
    """A model with private studies and public quantities."""

    model: DualEncoder
    records: Records
    public: Public
    objective: Objective

    def engine(self, **settings: object) -> PatientDpSgd:
        """An engine for the case; its clip is below some patients' gradients and above others'."""
        given = {
            "objective": self.objective,
            "sampling_probability": 0.3,
            "clip_norm": CLIP,
            "noise_multiplier": 1.0,
            "expected_patients": 7.5,
            "chunk_size": 1000,
            "randomness": SeededRandomness(torch.Generator().manual_seed(0)),
            **settings,
        }
        return PatientDpSgd(**given)  # type: ignore[arg-type]

    def looped_sum(self, *, per_layer: bool = False) -> Gradients:
        """The clipped sum by the definition: float64, one study at a time, one backward pass each."""
        model = copy.deepcopy(self.model).double()
        names = trainable_names(model)
        total = {name: torch.zeros_like(model.get_parameter(name)) for name in names}
        groups = [[name] for name in names] if per_layer else [list(names)]
        for patient in range(self.records.num_patients):
            mean = self._mean_gradient(model, patient)
            for group in groups:
                norm = math.sqrt(sum(float(mean[name].square().sum()) for name in group))
                for name in group:
                    total[name] += mean[name] * min(1.0, CLIP / math.sqrt(len(groups)) / norm if norm else 1.0)
        return total

    def with_terms(self, *names: str) -> Case:
        """The case with some terms of its objective alone; views are read where one compares them."""
        kinds = [TERMS.load(name) for name in names]
        objective = replace(
            self.objective, terms=tuple(each for each in self.objective.terms if type(each.term) in kinds)
        )
        return replace(self, objective=objective, records=read_by(objective, self.records))

    def public_on(self, device: str) -> Public:
        """The public quantities on a device."""
        return self.public.to(device)

    def _mean_gradient(self, model: DualEncoder, patient: int) -> Gradients:
        names = trainable_names(model)
        mean = {name: torch.zeros_like(model.get_parameter(name)) for name in names}
        rows = (self.records.patients == patient).nonzero().flatten().tolist()
        for row in rows:
            images, reports = (_double(part[row : row + 1]) for part in (self.records.images, self.records.reports))
            groups = None if self.records.groups is None else self.records.groups[row : row + 1]
            image, report = model(images, reports)
            if self.records.views is not None:
                image = image._replace(view=model.embed_images(_double(self.records.views[row : row + 1])))
            if self.records.halves is not None:
                image = image._replace(present=self.records.halves[row : row + 1, 0])
                report = report._replace(present=self.records.halves[row : row + 1, 1])
            value = self.objective(image, report, _public_double(self.public), groups)[0]
            parameters = [model.get_parameter(name) for name in names]
            gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
            for name, gradient in zip(names, gradients, strict=True):
                mean[name] += gradient / len(rows)
        return mean


MakeCase = Callable[[str], Case]
PATIENTS = (0, 0, 0, 1, 2, 2, 3, 4, 5, 5, 5, 5)
WITHOUT_REPORT, WITHOUT_IMAGE = (1, 6, 9), (3, 5, 10)
"""Studies that lack a half: of patients who have pairs besides, and of patients 1 and 3, who have none."""


@pytest.fixture(scope="session")
def make_case() -> MakeCase:
    """Cases by name: `heads`, `lora`, `towers`, and `towers_ghost`, whose positions are frozen."""

    def make(name: str) -> Case:
        trainable = {"heads": "heads", "lora": "lora"}.get(name, "all")
        config = load_config([*TINY, f"encoder.trainable={trainable}"])
        model, records, anchors = _parts(config)
        if name == "lora":
            _stir_adapters(model)
        if name == "towers_ghost":
            for tower in (model.image_tower, model.report_tower):
                tower.get_parameter("trunk.positions").requires_grad_(requires_grad=False)
        return Case(model, records, embed_public(model, *anchors), build_objective(config.loss, config.code))

    return make


@pytest.fixture(scope="session")
def loop_of(make_case: MakeCase) -> Callable[..., Gradients]:
    """The loop's clipped sum of a case, by the case's name and the rule of the clip."""

    @cache
    def loop(name: str, clipping: str = "flat") -> Gradients:
        return make_case(name).looped_sum(per_layer=clipping == "per_layer")

    return loop


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Two threads on tensors this small spend their time waiting; the setting is put back after each test."""
    torch.set_num_threads(1)


def _parts(config: RunConfig) -> tuple[DualEncoder, Records, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    size = len(PATIENTS) + 24
    images = torch.randint(0, 256, (size, 16, 16), generator=generator, dtype=torch.uint8)
    reports = torch.randint(1, 64, (size, 8), generator=generator)
    reports[::2, 5:] = 0
    whole = fresh_model(build(config.encoder), config)
    frozen, model = split_frozen(whole)
    if frozen is not None:
        features = frozen.features_of(images, reports)
        images, reports = features
        model.image_tower.fit_to_public(images[-24:])
        model.report_tower.fit_to_public(reports[-24:])
    model.hash_head.set_prototypes(torch.randn(20, 8, generator=generator), generator=generator)
    private = Records(images[:-24], reports[:-24], torch.tensor(PATIENTS), halves=torch.ones(len(PATIENTS), 2).bool())
    for half, features, without in ((0, private.images, WITHOUT_IMAGE), (1, private.reports, WITHOUT_REPORT)):
        features[list(without)] = features.new_zeros(1) if half == 0 else reports[-24]
        private.halves[list(without), half] = False
    return model, replace(private, views=moved(private.images)), (images[-24:], reports[-24:])


def read_by(objective: Objective, records: Records) -> Records:
    """Records as a step of an objective reads them: with views where it compares them."""
    compared = any(isinstance(each.term, Invariance) for each in objective.terms)
    return records if compared else replace(records, views=None)


def moved(images: Tensor) -> Tensor:
    """Other views of images: pixels moved by one, features by a little."""
    if images.dim() > 2:
        return images.roll(1, dims=-1)
    return images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(8))


def _stir_adapters(model: DualEncoder) -> None:
    """Away from the start, where half of the adapters' gradients are zero."""
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("up.weight"):
                parameter.normal_(std=0.1, generator=generator)


def _public_double(public: Public) -> Public:
    """The same public quantities in float64."""
    image, report = (type(side)(side.embedding.double(), side.code.double()) for side in (public.image, public.report))
    return Public(image, report, public.prototypes.double(), public.centres.double())


def _double(features: Tensor) -> Tensor:
    return features.double() if features.is_floating_point() else features
