"""Updates that are as noisy as their sites are small: scaled by public weights before any rule sees them.

Shapes: S sites, P values.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from strategies.cohort import Cohort
from strategies.interface import RULES
from tests.strategies.attacked import attacked_cohorts, kappa_about
from tests.strategies.cohorts import composition

PATIENTS_S = torch.tensor([32.0, 64.0, 128.0, 256.0, 512.0])
SCALES_S = PATIENTS_S.clamp(max=128.0)
ROBUST = [name for name in RULES.names if name not in {"mean", "bulyan", "krum", "multi_krum"}]


def _scaled(name: str, updates_SP: Tensor, scales_S: Tensor | None, *, f: int = 1) -> tuple[Tensor, Tensor]:
    """Update and shares of one round, from a fresh state and with equal weights."""
    built = composition(name, f)
    found = built.aggregate(updates_SP, torch.ones(len(updates_SP)), built.init(), scales_S=scales_S)
    return found.update_P, found.site_weights_S


def _noisy(num_values: int, *, seed: int) -> Tensor:
    """Updates of one signal and a noise of one over the patients, which is much longer."""
    generator = torch.Generator().manual_seed(seed)
    signal_P = torch.randn(num_values, generator=generator)
    noise_SP = torch.randn(len(PATIENTS_S), num_values, generator=generator) * (500 / PATIENTS_S)[:, None]
    return signal_P + noise_SP


@pytest.mark.parametrize("name", [*ROBUST, "nnm+trimmed_mean", "arc+nnm+trimmed_mean", "clipping+median"])
def test_rule_with_scales_is_the_rule_of_the_scaled_updates(name: str) -> None:
    updates_SP = _noisy(200, seed=1)
    expected_P = _scaled(name, updates_SP * (PATIENTS_S / PATIENTS_S.mean())[:, None], None)[0]
    torch.testing.assert_close(_scaled(name, updates_SP, PATIENTS_S)[0], expected_P, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*ROBUST, "nnm+trimmed_mean"])
def test_equal_scales_change_no_bit(name: str) -> None:
    updates_SP = _noisy(200, seed=2)
    without, with_equal = _scaled(name, updates_SP, None), _scaled(name, updates_SP, torch.full((5,), 48.0))
    assert all(torch.equal(one, other) for one, other in zip(without, with_equal, strict=True))


def test_mean_stays_the_weighted_mean_whatever_the_scales() -> None:
    updates_SP, built = _noisy(200, seed=3), composition("mean", 0)
    found = built.aggregate(updates_SP, PATIENTS_S, built.init(), scales_S=PATIENTS_S)
    share_S = PATIENTS_S / PATIENTS_S.sum()
    torch.testing.assert_close(found.update_P, share_S @ updates_SP, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.site_weights_S, share_S)


def test_smallest_site_counts_in_many_rounds_where_it_counted_in_none() -> None:
    """Scaled, its noise is as long as that of the site in the middle: by chance it is left out, or another is."""
    rounds = [_noisy(1_000, seed=seed) for seed in range(20)]
    unscaled = [float(_scaled("nnm+trimmed_mean", updates_SP, None)[1][0]) for updates_SP in rounds]
    scaled = [float(_scaled("nnm+trimmed_mean", updates_SP, SCALES_S)[1][0]) for updates_SP in rounds]
    assert unscaled == [0.0] * 20
    assert sum(share > 0 for share in scaled) >= 8


def test_scaled_rule_lets_less_noise_through() -> None:
    signal_P = torch.randn(5_000, generator=torch.Generator().manual_seed(5))
    noise = {
        kind: float((_scaled("nnm+trimmed_mean", _noisy(5_000, seed=5), scales)[0] - signal_P).norm())
        for kind, scales in (("as they are", None), ("scaled", SCALES_S))
    }
    assert noise["scaled"] < 0.9 * noise["as they are"]


@pytest.mark.parametrize("claimed", [0.05, 1.0, 3.0])
def test_no_claim_of_a_size_takes_a_liar_beyond_what_is_proven(claimed: float) -> None:
    """A claim scales what the liar sends, which may be anything: kappa of the scaled honest updates holds."""
    for attacked in attacked_cohorts("heterogeneous", (10, 200), 2, seed=0):
        scales_S = torch.cat([torch.linspace(0.5, 2.0, 8), torch.full((2,), claimed)])
        scaled_SP = attacked.updates_SP * (scales_S / scales_S.mean())[:, None]
        found_P = _scaled("nnm+trimmed_mean", attacked.updates_SP, scales_S, f=2)[0]
        proven = composition("nnm+trimmed_mean", 2).kappa(10)
        assert kappa_about(found_P, scaled_SP[: attacked.num_honest]) <= proven


def test_scale_of_an_update_that_is_not_finite_goes_with_it() -> None:
    updates_SP = _noisy(50, seed=6)
    updates_SP[4, 7] = torch.nan
    cohort = Cohort.of(updates_SP, PATIENTS_S, num_byzantine=1, scales_A=PATIENTS_S)
    rest_S = PATIENTS_S[:4].double()
    torch.testing.assert_close(cohort.mixing_TN[:, :4].diagonal(), rest_S / rest_S.mean())
