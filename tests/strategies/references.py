"""Every rule and stage again, from its paper, in plain NumPy and float64: loops over vectors, no Gram, no blocks.

Slow and independent on purpose: nothing of `strategies/` is imported or followed. Where a paper leaves a choice open
(ties, even medians), the rule's own docstring decides, and the comment here says so.

Shapes: S sites, P values, T points behind a stage.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]
Reference = Callable[[Array, int], Array]


def mean(x_SP: Array, _f: int) -> Array:
    """Plain mean."""
    return x_SP.sum(0) / len(x_SP)


def median(x_SP: Array, _f: int) -> Array:
    """The middle of each column, or halfway between the two."""
    columns = [sorted(column) for column in x_SP.T.tolist()]
    low, high = (len(x_SP) - 1) // 2, len(x_SP) // 2
    return np.array([(column[low] + column[high]) / 2 for column in columns])


def trimmed_mean(x_SP: Array, f: int) -> Array:
    """Each column without its f least and f greatest (Yin et al. 2018)."""
    kept = [sorted(column)[f : len(column) - f] for column in x_SP.T.tolist()]
    return np.array([sum(column) / len(column) for column in kept])


def sum_of_distances(y_P: Array, x_SP: Array) -> float:
    """What the geometric median makes least."""
    return float(sum(np.linalg.norm(x_P - y_P) for x_P in x_SP))


def geometric_median(x_SP: Array, _f: int) -> Array:
    """By SciPy's quasi-Newton method, not by Weiszfeld's; an update itself where none is better."""

    def gradient(y_P: Array) -> Array:
        lengths_S = np.maximum(np.linalg.norm(x_SP - y_P, axis=1), 1e-300)
        return ((y_P - x_SP) / lengths_S[:, None]).sum(0)

    options = {"maxiter": 5000, "maxfun": 50000, "ftol": 0.0, "gtol": 1e-10, "maxcor": 30}
    # From a start that hangs on the sites' order: where there are many medians, another order finds another.
    order_S = np.arange(1.0, len(x_SP) + 1)
    start_P = 0.9 * np.median(x_SP, axis=0) + 0.1 * order_S @ x_SP / order_S.sum()
    found = minimize(
        lambda y_P: (sum_of_distances(y_P, x_SP), gradient(y_P)), start_P, jac=True, method="L-BFGS-B", options=options
    )
    candidates = [found.x, *x_SP]
    return np.array(min(candidates, key=lambda y_P: sum_of_distances(y_P, x_SP)))


def krum_ranking(x_SP: Array, f: int) -> list[int]:
    """Sites from the best score to the worst (Blanchard et al. 2017): squared distances to the S - f - 2 nearest."""

    def distances(site: int) -> list[float]:
        return sorted(float(((x_SP[site] - x_SP[other]) ** 2).sum()) for other in range(len(x_SP)) if other != site)

    def score(site: int) -> tuple[float, float]:
        # At least one neighbour; the total decides between two that share a score, as `krum_order` says.
        found = distances(site)
        return sum(found[: max(1, len(x_SP) - f - 2)]), sum(found)

    return sorted(range(len(x_SP)), key=score)


def krum(x_SP: Array, f: int) -> Array:
    """The first of the ranking."""
    return x_SP[krum_ranking(x_SP, f)[0]]


def multi_krum(x_SP: Array, f: int) -> Array:
    """Mean of the first S - f of the ranking."""
    return x_SP[krum_ranking(x_SP, f)[: len(x_SP) - f]].mean(0)


def bulyan(x_SP: Array, f: int) -> Array:
    """El Mhamdi et al. 2018, algorithm 1: theta = S - 2f by repeated Krum, then theta - 2f values about the median."""
    left = list(range(len(x_SP)))
    chosen = [left.pop(krum_ranking(x_SP[left], f)[0]) for _ in range(len(x_SP) - 2 * f)]
    result = []
    for column in x_SP[chosen].T:
        middle = np.median(column)
        nearest = sorted(column.tolist(), key=lambda value, middle=middle: abs(value - middle))  # type: ignore[misc]
        result.append(float(np.mean(nearest[: len(chosen) - 2 * f])))
    return np.array(result)


def tightest_sets(x_SP: Array, f: int) -> list[tuple[int, ...]]:
    """All sets of S - f with the least diameter."""
    width = {pair: float(np.linalg.norm(x_SP[pair[0]] - x_SP[pair[1]])) for pair in combinations(range(len(x_SP)), 2)}
    sets = list(combinations(range(len(x_SP)), len(x_SP) - f))
    diameters = [max((width[pair] for pair in combinations(chosen, 2)), default=0.0) for chosen in sets]
    return [chosen for chosen, diameter in zip(sets, diameters, strict=True) if diameter == min(diameters)]


def mda(x_SP: Array, f: int) -> Array:
    """Mean of the tightest set; of several, that with the least sum of squared distances, as `Mda.weights` says."""

    def total(chosen: tuple[int, ...]) -> float:
        return float(sum(((x_SP[i] - x_SP[j]) ** 2).sum() for i, j in combinations(chosen, 2)))

    return x_SP[list(min(tightest_sets(x_SP, f), key=total))].mean(0)


def top_eigenvalue(x_SP: Array) -> float:
    """Of the covariance: the largest squared singular value of the centred vectors, over their number."""
    return float(np.linalg.svd(x_SP - x_SP.mean(0), compute_uv=False)[0] ** 2 / len(x_SP))


def smea(x_SP: Array, f: int) -> Array:
    """Mean of the set of S - f whose covariance has the least top eigenvalue (Allouah et al. 2023)."""
    sets = combinations(range(len(x_SP)), len(x_SP) - f)
    return x_SP[list(min(sets, key=lambda chosen: top_eigenvalue(x_SP[list(chosen)])))].mean(0)


def caf(x_SP: Array, f: int) -> Array:
    """Allouah et al. 2025, algorithm CAF, with exact eigenvectors: a weight at or below S - 2f is never judged."""
    weight_S = np.ones(len(x_SP))
    best_P, least = x_SP.mean(0), np.inf
    while weight_S.sum() > len(x_SP) - 2 * f:
        mean_P = weight_S @ x_SP / weight_S.sum()
        centred_SP = x_SP - mean_P
        scaled_SP = np.sqrt(weight_S / weight_S.sum())[:, None] * centred_SP
        _, singular, rows = np.linalg.svd(scaled_SP, full_matrices=False)
        if singular[0] ** 2 < least:
            best_P, least = mean_P, singular[0] ** 2
        outlying_S = (centred_SP @ rows[0]) ** 2
        most = outlying_S[weight_S > 0].max()
        if most == 0:
            break
        weight_S = np.where(weight_S > 0, weight_S * (1 - outlying_S / most), 0.0)
        weight_S[weight_S < 1e-9] = 0.0
    return best_P


def centered_clipping(x_SP: Array, f: int, *, history_P: Array | None = None) -> Array:
    """Karimireddy et al. 2021, three steps; start and radius as the rule's docstring says.

    Of an even number the lower of the two middle distances is the median, as in torch.
    """

    def middle(values: Array) -> float:
        return float(sorted(values)[(len(values) - 1) // 2])

    def reach(centre_P: Array) -> float:
        return middle(np.linalg.norm(x_SP - centre_P, axis=1))

    centre_P = min([median(x_SP, f), *([] if history_P is None else [history_P])], key=reach)
    for _ in range(3):
        radius = reach(centre_P)
        moves = []
        for x_P in x_SP:
            length = np.linalg.norm(x_P - centre_P)
            moves.append((x_P - centre_P) * (min(1.0, radius / length) if length > 0 else 1.0))
        centre_P = centre_P + np.mean(moves, axis=0)
    return centre_P


def nnm(x_SP: Array, f: int) -> Array:
    """Allouah et al. 2023: each becomes the mean of the S - f that are nearest to it, itself among them."""
    mixed = []
    for x_P in x_SP:
        nearest = np.argsort(((x_SP - x_P) ** 2).sum(1), kind="stable")[: len(x_SP) - f]
        mixed.append(x_SP[nearest].mean(0))
    return np.array(mixed)


def arc(x_SP: Array, f: int) -> Array:
    """Allouah et al. 2024, algorithm 2: the floor(2 f / S (S - f)) longest get the length of the next one."""
    lengths_S = np.linalg.norm(x_SP, axis=1)
    num_clipped = 2 * f * (len(x_SP) - f) // len(x_SP)
    threshold = sorted(lengths_S, reverse=True)[num_clipped]
    return np.array(
        [x_P * min(1.0, threshold / length) if length else x_P for x_P, length in zip(x_SP, lengths_S, strict=True)]
    )


def clipping(x_SP: Array, _f: int) -> Array:
    """None longer than the median length."""
    lengths_S = np.linalg.norm(x_SP, axis=1)
    threshold = np.median(lengths_S)
    return np.array(
        [x_P * min(1.0, threshold / length) if length else x_P for x_P, length in zip(x_SP, lengths_S, strict=True)]
    )


RULE_REFERENCES: dict[str, Reference] = {
    "bulyan": bulyan,
    "caf": caf,
    "centered_clipping": centered_clipping,
    "geometric_median": geometric_median,
    "krum": krum,
    "mda": mda,
    "mean": mean,
    "median": median,
    "multi_krum": multi_krum,
    "smea": smea,
    "trimmed_mean": trimmed_mean,
}
STAGE_REFERENCES: dict[str, Reference] = {"arc": arc, "clipping": clipping, "nnm": nnm}
"""Bucketing draws: it has tests of its own."""


def reference(name: str, x_SP: Array, f: int) -> Array:
    """The result of a composition."""
    *stages, rule = name.split("+")
    for stage in stages:
        x_SP = STAGE_REFERENCES[stage](x_SP, f)
    return RULE_REFERENCES[rule](x_SP, f)


def can_tie(name: str) -> bool:
    """Whether cohorts of no special kind make ties: after mixing, and between the medians of two updates."""
    return "nnm+" in name or name.endswith("geometric_median")


def unambiguous(name: str, x_SP: Array, f: int) -> Array | None:
    """The result of a composition, unless it hangs on the sites' order or the ninth digit: a tie, with no right answer.

    Mixing makes ties: with f = 1, two groups of four sites that lack the same neighbour are as good as each other.
    """
    generator = np.random.default_rng(0)
    first = reference(name, x_SP, f)
    if not can_tie(name):
        return first
    for _ in range(4):
        moved_SP = x_SP * (1 + 1e-9 * generator.normal(size=x_SP.shape))
        again = reference(name, generator.permutation(moved_SP), f)
        if np.abs(again - first).max() > 1e-5 * np.abs(x_SP).max():
            return None
    return first
