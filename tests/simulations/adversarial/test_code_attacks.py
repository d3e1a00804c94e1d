"""Attacks on codes: their goals beside plain loops, the bounds that pixels keep, and what is left of a report."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from simulations.adversarial.across import across
from simulations.adversarial.centre import centre
from simulations.adversarial.dhta import dhta
from simulations.adversarial.hag import hag
from simulations.adversarial.interface import Goal, Search, signs
from simulations.adversarial.pgd import perturbed
from simulations.adversarial.report_substitution import substituted
from simulations.adversarial.visibility import moved_share

B, R, K = 4, 9, 16


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def search() -> Search:
    source = generator(1)
    relevant = torch.rand(B, R, generator=source) < 0.4
    relevant[:, 0] = True
    return Search(
        own_BK=torch.randn(B, K, generator=source),
        gallery_RK=signs(torch.randn(R, K, generator=source)),
        relevant_BR=relevant,
        wanted_BR=torch.rand(B, R, generator=source) < 0.5,
    )


def every_code() -> Tensor:
    bits = np.unpackbits(np.arange(2**8, dtype=np.uint8)[:, None], axis=1)
    return torch.from_numpy(bits * 2.0 - 1.0).float()


def test_hag_leaves_the_images_own_code() -> None:
    goal = hag(search())
    assert goal.towards == -1
    assert torch.equal(goal.code_BK, signs(search().own_BK))


def test_dhta_comes_to_the_code_nearest_to_all_wanted_items() -> None:
    found = search()
    goal = dhta(found)
    assert goal.towards == 1
    for code, wanted in zip(goal.code_BK[:, :8], found.wanted_BR, strict=True):
        items = found.gallery_RK[wanted][:, :8]
        distances = [(items != other).sum() for other in every_code()]
        assert (items != code).sum() == min(distances)


def test_centre_is_the_code_nearest_to_answers_and_farthest_from_others() -> None:
    found = search()
    goal = centre(found)
    assert goal.towards == -1
    for code, relevant in zip(goal.code_BK[:, :8], found.relevant_BR, strict=True):
        right, wrong = found.gallery_RK[relevant][:, :8], found.gallery_RK[~relevant][:, :8]

        def value(other: Tensor, right: Tensor = right, wrong: Tensor = wrong) -> float:
            return float((right != other).sum(dim=1).float().mean() - (wrong != other).sum(dim=1).float().mean())

        assert value(code) == pytest.approx(min(value(other) for other in every_code()))


def test_across_leaves_the_code_nearest_to_the_images_reports() -> None:
    found = search()
    goal = across(found)
    assert goal.towards == -1
    for code, relevant in zip(goal.code_BK[:, :8], found.relevant_BR, strict=True):
        items = found.gallery_RK[relevant][:, :8]
        assert (items != code).sum() == min((items != other).sum() for other in every_code())


@pytest.fixture
def pixels() -> Tensor:
    drawn = torch.randint(1, 256, (3, 6, 6), generator=generator(2), dtype=torch.uint8)
    drawn[:, :2] = 0
    drawn[:, 5] = 255
    return drawn


@pytest.mark.parametrize("towards", [1, -1])
def test_pixels_move_to_the_goal_and_no_farther_than_epsilon(pixels: Tensor, towards: int) -> None:
    plane = torch.randn(36, K, generator=generator(3))

    def outputs(images: Tensor) -> Tensor:
        return (images.float() - 128).flatten(1) @ plane / 100

    goal = Goal(signs(torch.randn(3, K, generator=generator(4))), towards)
    changed = perturbed(outputs, pixels, goal, epsilon=8.0, steps=20, generator=generator(5))
    before, after = ((torch.tanh(outputs(seen)) * goal.code_BK).sum(dim=1) for seen in (pixels, changed))
    assert bool((towards * (after - before) > 0.5).all())
    assert float((changed - pixels).abs().max()) <= 8.0
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255
    assert bool((changed[:, :2] == 0).all())
    assert 0.5 < moved_share(pixels, changed) <= 1
    assert moved_share(pixels, pixels.float()) == 0


def test_a_report_loses_the_word_that_its_code_hangs_on() -> None:
    def outputs(texts: list[str]) -> Tensor:
        return torch.tensor([[3.0 if "effusion" in text else -1.0, 1.0] for text in texts])

    own = Goal(outputs(["a small pleural effusion on the left"]).sign(), -1)
    changed = substituted(outputs, "a small pleural effusion on the left", own, share=0.1)
    assert "effusion" not in changed
    kept = set(changed.split())
    assert kept >= {"a", "small", "pleural", "on", "the", "left"}


def test_a_report_comes_to_a_wanted_code_by_a_synonym() -> None:
    def outputs(texts: list[str]) -> Tensor:
        return torch.tensor([[3.0 if "big" in text else -1.0, 1.0] for text in texts])

    goal = Goal(torch.ones(1, 2), 1)
    assert substituted(outputs, "Large, on the left. Heart normal.", goal, share=0.1) == (
        "big, on the left. Heart normal."
    )


def test_a_report_is_changed_in_no_more_words_than_allowed() -> None:
    vectors = torch.randn(100, 4, generator=generator(6))

    def outputs(texts: list[str]) -> Tensor:
        return torch.stack([sum((vectors[sum(map(ord, w)) % 100] for w in t.split()), torch.zeros(4)) for t in texts])

    report = " ".join(f"finding{letter}" for letter in "abcdefghij")
    away = Goal(outputs([report]).sign(), -1)
    changed = substituted(outputs, report, away, share=0.3).split()
    assert 0 < len(set(report.split()) - set(changed)) <= 3
    assert substituted(outputs, "", away, share=0.5) == ""
