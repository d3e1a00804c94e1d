"""Whether maps of agreement point at what was asked for: drawn chests with known places, and a trained run.

The pointing game (Zhang et al. 2016, arXiv:1608.00507): a map hits where its strongest place lies on what the report
names. Beside it: the centre of the picture, and the same map of the model with weights drawn at random (Adebayo et al.
2018, arXiv:1810.03292). Each pair is compared by the exact test of McNemar, one-sided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.stats import binomtest
from torch import nn

from common.config.load import load_config
from common.model import Model, load_model
from common.model.saliency import saliency
from common.types import Image
from server.model.ended_run import read_ended_run
from server.model.export import export_model
from simulations.cohorts.patients import PhantomStudy
from simulations.cohorts.plan import PUBLIC, CohortPlan
from simulations.cohorts.render import attenuation, render_views
from simulations.cohorts.write import draw_cohort
from simulations.scenarios.simulate import simulate

SIZE, NUM_STUDIES, ALPHA = 64, 120, 0.05
TRAINED = (
    "privacy.epsilon=null",
    "privacy.calibrate=false",
    "encoder.trainable=all",
    "encoder.patch_size=8",
    "encoder.width=48",
    "encoder.image_depth=2",
    "encoder.report_depth=1",
    "public_fit.batch_size=64",
    "public_fit.steps=500",
    "data.synthetic.num_sites=3",
    "data.synthetic.patients_per_site=150",
    "data.synthetic.public_patients=700",
    "aggregator.name=mean",
    "aggregator.num_byzantine=0",
    "federation.rounds=4",
    "evaluation.num_bootstrap=50",
    "workers=1",
)
OTHER_SEED = 77
"""Of the patients who are asked about: none of them was trained on."""


@dataclass(frozen=True)
class Case:
    """A study of one or two findings, and where they lie, within two pixels."""

    image: Image
    report: str
    mask: NDArray[np.bool_]


def cases() -> Iterator[Case]:
    """Studies whose findings are moderate or large."""
    plan = CohortPlan(
        num_sites=1,
        patients_per_site=10,
        public_patients=2000,
        image_size=SIZE,
        site_shift=0.5,
        confounder=False,
        seed=OTHER_SEED,
    )
    for study in draw_cohort(plan):
        few = 1 <= len(study.findings) <= 2 and all(finding.severity != "small" for finding in study.findings)
        if study.patient.site == PUBLIC and few:
            image = render_views(study, size=SIZE, seed=OTHER_SEED)[0]
            yield Case(image, study.report, binary_dilation(places(study), iterations=2))


def places(study: PhantomStudy) -> NDArray[np.bool_]:
    """Where findings change the picture by more than three tenths of the most that they do."""
    anatomy, pose, mask = study.patient.anatomy, study.views[0].pose, np.zeros((SIZE, SIZE), bool)
    whole = attenuation(anatomy, pose, study.findings, size=SIZE)
    for finding in study.findings:
        others = tuple(one for one in study.findings if one is not finding)
        change = np.abs(whole - attenuation(anatomy, pose, others, size=SIZE))
        mask |= change > 0.3 * change.max()
    return mask


def with_random_weights(model: Model, folder: Path) -> Model:
    """The same model, loaded anew, its image side drawn at random."""
    random = load_model(folder)
    generator = torch.Generator().manual_seed(0)
    for part in (random.frozen.image, random.dual.image_tower, random.dual.hash_head):
        for parameter in part.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5, generator=generator)
    assert random.digest == model.digest
    return random


def hits_of(folder: Path) -> dict[str, NDArray[np.bool_]]:
    """Which of the studies each way of pointing hits."""
    model = load_model(folder)
    random = with_random_weights(model, folder)
    hits: dict[str, list[bool]] = {"map": [], "centre": [], "random": []}
    for _, case in zip(range(NUM_STUDIES), cases(), strict=False):
        (code_P,) = model.encode_texts([case.report])
        for name, one in (("map", model), ("random", random)):
            map_HW = saliency(one, case.image, code_P).map_HW
            hits[name].append(bool(case.mask[np.unravel_index(map_HW.argmax(), map_HW.shape)]))
        hits["centre"].append(bool(case.mask[SIZE // 2, SIZE // 2]))
    return {name: np.array(found) for name, found in hits.items()}


def p_value(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Of that the first hits no more often than the second."""
    alone, other = int((first & ~second).sum()), int((second & ~first).sum())
    return float(binomtest(alone, alone + other, alternative="greater").pvalue) if alone + other else 1.0


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_map_points_at_the_findings_more_often_than_centre_and_random_weights(
    tmp_path: Path, quiet_watcher: Any
) -> None:
    simulate(load_config(TRAINED), tmp_path / "run", watcher=quiet_watcher)
    folder = export_model(read_ended_run(tmp_path / "run"), tmp_path / "model").folder
    hits = hits_of(folder)
    print({name: f"{int(found.sum())} of {len(found)}" for name, found in hits.items()})  # noqa: T201 - the figures
    assert p_value(hits["map"], hits["random"]) < ALPHA
    assert p_value(hits["map"], hits["centre"]) < ALPHA
    assert p_value(hits["random"], hits["centre"]) >= ALPHA, "the control: random weights do not point"
