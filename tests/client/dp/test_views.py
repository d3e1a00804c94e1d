"""Views of a study: more rows of the same patient, near the study, never the same twice under privacy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from client.dp.records import Records
from client.dp.views import GAIN, Views
from common.errors import ConfigError


def studies() -> Records:
    """Three studies of two patients; a bright square on grey."""
    images = torch.full((3, 50, 50), 100, dtype=torch.uint8)
    images[:, 20:30, 20:30] = 200
    return Records(images, torch.arange(3)[:, None], torch.tensor([0, 0, 1]))


def test_one_view_is_the_study_itself() -> None:
    records = studies()
    assert Views(1).secret(records) is records


def test_views_are_rows_of_the_same_patient_with_the_same_report() -> None:
    found = Views(4).of(studies(), np.random.default_rng(0)).rows(slice(None))
    assert found.patients.tolist() == [0] * 8 + [1] * 4
    assert found.reports[:, 0].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.images.dtype == torch.uint8


def test_views_of_a_part_are_of_its_studies_alone() -> None:
    found = Views(4).of(studies(), np.random.default_rng(0)).rows(slice(6, 11))
    assert found.patients.tolist() == [0, 0, 1, 1, 1]
    assert found.reports[:, 0].tolist() == [1, 1, 2, 2, 2]
    assert len({image.numpy().tobytes() for image in found.images}) > 2


def test_views_shift_and_brighten_a_little() -> None:
    found = Views(200).of(studies(), np.random.default_rng(0)).rows(slice(None)).images.double()
    background = found[:, 0, 0]
    assert ((background / 100 - 1).abs() <= GAIN + 0.01).all()
    assert background.std() > 2
    bright = found > 1.5 * background[:, None, None]
    rows = bright.any(dim=2).double().argmax(dim=1)
    assert set(rows.tolist()) == {18, 19, 20, 21, 22}
    assert (bright.sum(dim=(1, 2)) == 100).all()


def test_secret_views_never_repeat() -> None:
    first, second = (Views(8).secret(studies()).rows(slice(None)).images for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", ["heads", "lora"])
def test_views_of_features_that_are_not_pixels_are_refused(make_case: Any, name: str) -> None:
    case = make_case(name)
    features = case.records.images.float()
    records = Records(features, case.records.reports, case.records.patients)
    with pytest.raises(ConfigError, match=r"training\.augmentations=2: .*augmentations=1.*trainable=all"):
        case.engine(views=Views(2)).gradient(case.model, records, case.public)


def test_views_leave_the_sensitivity_as_it_is(make_case: Any) -> None:
    """A patient of four studies and four views each, with one more beside each, moves the sum by one clip."""
    case = make_case("towers")
    views = Views(4, compared=True).of(case.records, np.random.default_rng(0)).rows(slice(None))
    engine = case.engine()
    kept = views.patients < views.num_patients - 1
    fewer = views.rows(kept.nonzero().flatten())
    whole, rest = (engine.clipped_sum(case.model, records, case.public) for records in (views, fewer))
    distance = torch.stack([(whole[name] - rest[name]).square().sum() for name in whole]).sum().sqrt()
    assert 0.1 < float(distance) <= 0.5 * (1 + 1e-4)


def test_compared_views_stand_beside_their_studies_and_leave_them_as_they_are() -> None:
    found = Views(1, compared=True).of(studies(), np.random.default_rng(0)).rows(slice(1, 3))
    assert torch.equal(found.images, studies().images[1:3])
    assert found.views is not None
    assert (found.views.shape, found.views.dtype) == (found.images.shape, torch.uint8)
    assert not torch.equal(found.views, found.images)
    assert found.patients.tolist() == [0, 1]


def test_compared_views_of_averaged_views_are_one_for_each_row() -> None:
    found = Views(3, compared=True).of(studies(), np.random.default_rng(0)).rows(slice(None))
    assert found.views is not None
    assert len(found.views) == len(found.images) == 9
    assert len({view.numpy().tobytes() for view in found.views}) > 6


@pytest.mark.parametrize("name", ["heads", "lora"])
def test_compared_views_of_features_that_are_not_pixels_are_refused(make_case: Any, name: str) -> None:
    case = make_case(name)
    features = case.records.images.float()
    records = Records(features, case.records.reports, case.records.patients)
    engine = case.engine(views=Views(1, compared=True))
    with pytest.raises(ConfigError, match=r"^loss\.name: invariance: views are made from pixels.*leave invariance out"):
        engine.gradient(case.model, records, case.public)
