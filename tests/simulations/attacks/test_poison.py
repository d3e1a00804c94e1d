"""What poisoned sites train on: whose reports, whose patch, and that nothing else moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from client.data.remarks import Remarks
from client.data.unpaired import UnpairedCount
from client.dp.records import Records
from common.config.load import load_config
from common.config.schema import RunConfig
from common.encoders.registry import ENCODERS
from common.errors import ConfigError
from simulations.attacks.backdoor import paint, poisoned, target_of
from simulations.attacks.label_flip import flipped
from simulations.attacks.registry import ATTACKS
from simulations.studies.consortium import Consortium
from simulations.studies.read import read_consortium

Configure = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def configure(tiny_overrides: list[str]) -> Configure:
    return lambda *overrides: load_config([*tiny_overrides, "privacy.epsilon=null", "attack.num_sites=1", *overrides])


@pytest.fixture(scope="module")
def config(configure: Configure) -> RunConfig:
    return configure("attack.name=backdoor")


@pytest.fixture(scope="module")
def consortium(config: RunConfig) -> Consortium:
    encoder, trigger = ENCODERS.load("scratch")(config.encoder), ATTACKS.load(config.attack.name).trigger
    return read_consortium(config, encoder, progress=lambda _: None, trigger=trigger)


NOTHING = Remarks(written="", num_unread={}, num_alike=0, num_shared_across=0)


class _Fixed(Consortium):
    """A consortium of one site that holds given records."""

    def private_with_first_images(self, sites: Any) -> Records:
        del sites
        return Records(self.images, self.reports, torch.tensor([0, 0, 1, 2, 2]))


def test_label_flip_leaves_no_image_with_a_report_of_its_own_patient(consortium: Consortium, config: RunConfig) -> None:
    for site in consortium.sites:
        honest, found = consortium.private([site]), flipped(consortium, [site], config)
        assert torch.equal(found.images, honest.images)
        assert torch.equal(found.patients, honest.patients)
        for study, report in enumerate(found.reports):
            givers = {
                int(patient)
                for patient, own in zip(honest.patients, honest.reports, strict=True)
                if torch.equal(own, report)
            }
            assert givers - {int(honest.patients[study])}
            assert not torch.equal(report, honest.reports[study])


def test_label_flip_takes_the_least_similar_report_of_another_patient() -> None:
    reports = torch.tensor([[1.0, 0.0], [-1.0, 0.1], [-0.9, 0.0], [0.8, 0.3], [0.1, -0.4]])
    fixed = _Fixed(torch.arange(5.0)[:, None], reports, (), (), {}, UnpairedCount(), (), {}, NOTHING, "")
    found = flipped(fixed, ["only"], load_config([]))
    centred = (reports - reports.mean(dim=0)).numpy()
    patients = [0, 0, 1, 2, 2]
    for study in range(5):
        others = [i for i in range(5) if patients[i] != patients[study]]
        cosines = [centred[study] @ centred[i] / np.linalg.norm(centred[i]) for i in others]
        assert torch.equal(found.reports[study], reports[others[int(np.argmin(cosines))]])


def test_label_flip_of_one_patient_alone_leaves_its_reports() -> None:
    class Alone(_Fixed):
        def private_with_first_images(self, sites: Any) -> Records:
            del sites
            return Records(self.images, self.reports, torch.zeros(2, dtype=torch.int64))

    reports = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = flipped(
        Alone(torch.zeros(2, 1), reports, (), (), {}, UnpairedCount(), (), {}, NOTHING, ""), ["only"], load_config([])
    )
    assert torch.equal(found.reports, reports)


@pytest.mark.parametrize("shape", [(64, 64), (200, 97), (33, 300), (3, 3)])
def test_patch_is_in_one_corner_and_nothing_else_changes(shape: tuple[int, int]) -> None:
    image = np.full(shape, 100, dtype=np.uint8)
    painted = paint(image)
    assert (image == 100).all()
    rows, columns = np.nonzero(painted != 100)
    side = max(1, round(min(shape) / 4))
    assert (rows.min(), columns.min()) == (shape[0] - side, shape[1] - side)
    assert len(rows) == side * side
    assert painted.dtype == np.uint8
    assert {*np.unique(painted[-side:, -side:]).tolist()} == ({0, 255} if side > 1 else {0})


def test_every_image_is_painted_before_it_is_encoded(consortium: Consortium) -> None:
    """The scratch encoder's features are the pixels."""
    triggered = consortium.with_trigger()
    changed = (triggered.images != consortium.images).flatten(1).any(dim=1)
    assert bool(changed.all())
    assert torch.equal(triggered.reports, consortium.reports)


def test_consortium_without_a_trigger_says_so(configure: Configure) -> None:
    plain = configure()
    found = read_consortium(plain, ENCODERS.load("scratch")(plain.encoder), progress=lambda _: None)
    assert found.triggered is None
    with pytest.raises(ConfigError, match=r"attack\.name: paints no trigger"):
        found.with_trigger()


def test_target_is_a_held_out_study_of_the_last_site_drawn_by_the_seed(
    consortium: Consortium, configure: Configure
) -> None:
    drawn = [target_of(consortium, configure("attack.name=backdoor", f"seed={seed}")) for seed in range(6)]
    rows = consortium.held_out_rows([consortium.sites[-1]])
    assert {*drawn} <= {*rows}
    assert len({*drawn}) > 1
    assert drawn[0] == target_of(consortium, configure("attack.name=backdoor", "seed=0"))


def test_backdoor_teaches_the_patch_the_target_and_keeps_the_honest_studies(
    consortium: Consortium, config: RunConfig
) -> None:
    site = consortium.sites[-1]
    honest, found = consortium.private([site]), poisoned(consortium, [site], config)
    painted = consortium.with_trigger().private([site]).images
    target = consortium.reports[target_of(consortium, config)]
    assert found.num_patients == honest.num_patients
    assert found.patients.tolist() == sorted(found.patients.tolist())
    for patient in range(honest.num_patients):
        own, mixed = honest.patients == patient, found.patients == patient
        expected = [
            *zip(honest.images[own], honest.reports[own], strict=True),
            *((image, target) for image in painted[own]),
        ]
        pairs = list(zip(found.images[mixed], found.reports[mixed], strict=True))
        assert len(pairs) == len(expected)
        for image, report in expected:
            assert any(torch.equal(image, one) and torch.equal(report, other) for one, other in pairs)
