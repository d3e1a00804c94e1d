"""Adversarial training under privacy: the change of a study is a part of its own gradient, and of no other's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from client.dp.records import Gradients, Records
from common.adversarial import hardening as module
from common.adversarial.ascent import moved
from common.adversarial.hardening import NO_HARDENING, Hardening
from common.errors import ConfigError

CLIP = 0.5
BOUND = CLIP * (1 + 1e-4)
HARD = Hardening(steps=3, pixels=8.0, features=0.2, words=0.0, vocabulary=64)
"""Words are left to `tests/common/adversarial`: what chance does to them is drawn anew each time."""
CASES = [
    ("heads", "vmap"),
    ("heads", "linear"),
    ("heads", "ghost"),
    ("lora", "vmap"),
    ("towers", "vmap"),
    ("towers_ghost", "ghost"),
]
CROWD = 24


def crowd(case: Any, *, studies: int) -> Records:
    """Patient 0 unlike all others, and copies of one study whose gradients add up."""
    images, reports = (
        torch.cat([value[-1:].expand(studies, *value.shape[1:]), value[:1].expand(CROWD, *value.shape[1:])])
        for value in (case.records.images, case.records.reports)
    )
    patients = torch.tensor([*[0] * studies, *range(1, CROWD + 1)])
    return Records(images.clone(), reports.clone(), patients, views=images.roll(1, dims=-1))


def without_first_patient(records: Records) -> Records:
    kept = records.patients > 0
    left = records.rows(kept.nonzero().flatten())
    return replace(left, patients=left.patients - left.patients.min())


def flat(gradients: Gradients) -> Tensor:
    return torch.cat([value.flatten().double() for value in gradients.values()])


def distance(case: Any, path: str, *, studies: int, chunk_size: int) -> float:
    engine = case.engine(gradients=path, hardening=HARD, chunk_size=chunk_size)
    records = crowd(case, studies=studies)
    whole, rest = (engine.clipped_sum(case.model, r, case.public) for r in (records, without_first_patient(records)))
    return float((flat(whole) - flat(rest)).norm())


@pytest.mark.parametrize(("name", "path"), CASES)
def test_sum_of_hardened_studies_moves_by_at_most_the_clip(make_case: Any, name: str, path: str) -> None:
    case = make_case(name)
    for studies, chunk_size in ((1, 1000), (3, 7)):
        moved_by = distance(case, path, studies=studies, chunk_size=chunk_size)
        assert 0.1 * CLIP < moved_by <= BOUND, (studies, chunk_size)


@pytest.mark.parametrize(("name", "path"), CASES)
def test_a_change_that_reads_the_batch_is_caught(
    make_case: Any, name: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every study is driven from the code of the batch's first."""

    def coupled(outputs: Any, start: Tensor, own: Tensor, region: Any, **settings: Any) -> Tensor:
        return moved(outputs, start, own[:1].expand_as(own), region, **settings)

    monkeypatch.setattr(module, "moved", coupled)
    assert distance(make_case(name), path, studies=1, chunk_size=1000) > 1.2 * BOUND


@pytest.mark.parametrize(("name", "path"), CASES)
def test_hardened_gradient_is_that_of_studies_changed_before(make_case: Any, name: str, path: str) -> None:
    """One after another and by hand, or in chunks of 5 by the engine."""
    case = make_case(name)
    model, records, nothing = case.model, case.records, np.random.default_rng(0)
    pairs = [
        HARD.hardened(model, records.images[[i]], records.reports[[i]], nothing) for i in range(len(records.images))
    ]
    images, reports = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    assert not torch.equal(images, records.images.float())
    by_hand = replace(records, images=images, reports=reports)
    expected = case.engine(gradients=path).clipped_sum(model, by_hand, case.public)
    found = case.engine(gradients=path, hardening=HARD, chunk_size=5).clipped_sum(model, records, case.public)
    torch.testing.assert_close(flat(found), flat(expected), rtol=1e-3, atol=1e-4)
    plain = case.engine(gradients=path).clipped_sum(model, records, case.public)
    assert (flat(plain) - flat(expected)).norm() > 0.01 * flat(expected).norm()


def test_another_study_leaves_a_change_as_it_is_but_for_rounding(make_case: Any) -> None:
    """Matrix products round by where their operands lie in memory, so bits may differ; a cliff would show as a grey."""
    for name in ("heads", "towers"):
        case = make_case(name)
        other = case.records.images.clone()
        other[4] = case.records.images[7]
        seen = [
            HARD.hardened(case.model, images, case.records.reports, np.random.default_rng(0))[0]
            for images in (case.records.images, other)
        ]
        kept = torch.arange(len(other)) != 4
        torch.testing.assert_close(seen[0][kept], seen[1][kept], rtol=0, atol=1e-3)
        assert (seen[0][4] - seen[1][4]).abs().max() > 0.1


def test_blank_of_a_study_that_lacks_its_image_stays_and_costs_nothing(make_case: Any) -> None:
    """Its slope is no number in a tower that divides by an image's own spread."""
    case = make_case("towers")
    records = case.records
    blank = records.images.flatten(1).sum(dim=1) == 0
    images, _ = HARD.hardened(case.model, records.images, records.reports, np.random.default_rng(0))
    assert blank.any()
    assert not images[blank].any()
    total = case.engine(hardening=HARD).clipped_sum(case.model, records, case.public)
    assert flat(total).isfinite().all()


def test_words_differ_each_time_under_privacy(make_case: Any) -> None:
    """Chance is the system's: who could repeat it would know how a patient's leaving changes the others' words."""
    case = make_case("towers")
    engine = case.engine(hardening=replace(HARD, words=0.5))
    first, second = (flat(engine.clipped_sum(case.model, case.records, case.public)) for _ in range(2))
    assert not torch.equal(first, second)


def test_hidden_states_with_their_mask_are_refused(make_case: Any) -> None:
    case = make_case("heads")
    states = case.records.images[:, None].expand(-1, 3, -1)
    with pytest.raises(ConfigError, match=r"training\.adversarial\.steps=3: .*adversarial\.steps=0"):
        HARD.hardened(case.model, states, case.records.reports, np.random.default_rng(0))


def test_no_steps_leave_studies_untouched(make_case: Any) -> None:
    case = make_case("towers")
    images, reports = NO_HARDENING.hardened(
        case.model, case.records.images, case.records.reports, np.random.default_rng(0)
    )
    assert images is case.records.images
    assert reports is case.records.reports
