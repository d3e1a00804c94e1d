"""Makes `byzfl_vectors.json`: what ByzFL 0.0.11 answers to a few small finite cohorts. Run once, by hand.

In an environment of its own, as ByzFL is no dependency of ours:

    python -m venv byzfl && byzfl/bin/pip install numpy scipy torch==2.13.0
    byzfl/bin/pip install --no-deps byzfl==0.0.11
    byzfl/bin/python tests/strategies/data/make_byzfl_vectors.py > tests/strategies/data/byzfl_vectors.json

Its Krum and MultiKrum count one neighbour more than Blanchard et al. (S - f - 1, not S - f - 2), its SMEA and CAF are
random, and its geometric median stops after three steps: they are no oracle and not stored.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from itertools import combinations
from types import ModuleType

import numpy as np

for name in ("byzfl.attacks", "byzfl.fed_framework", "byzfl.benchmark"):
    sys.modules[name] = ModuleType(name)  # training and plots, which want torchvision and more; not needed here

from byzfl import ARC, MDA, NNM, Average, Median, TrMean  # type: ignore[import-not-found]  # noqa: E402

SIZES = [(3, 1, 4), (5, 2, 6), (7, 2, 3), (8, 3, 7), (10, 2, 12), (11, 4, 5)]
"""S, f and P of each cohort; S even and odd."""


def cohort(num_sites: int, num_byzantine: int, num_values: int, generator: np.random.Generator) -> np.ndarray:
    """Sites that differ and share an offset, and f that lie ever further out; three decimals, so the file is short."""
    updates_SP = generator.normal(size=(num_sites, num_values)) + generator.normal(size=num_values) * 2
    updates_SP[:num_byzantine] += 4 * generator.normal(size=(num_byzantine, num_values))
    return updates_SP[generator.permutation(num_sites)].round(3).astype(np.float32).astype(np.float64)


def has_one_tightest_set(updates_SP: np.ndarray, f: int) -> bool:
    """Whether one set alone has the least diameter: ByzFL takes the first of several, which depends on the order."""
    widths_SS = np.linalg.norm(updates_SP[:, None] - updates_SP[None], axis=2)
    sets = combinations(range(len(updates_SP)), len(updates_SP) - f)
    diameters = sorted(float(widths_SS[np.ix_(chosen, chosen)].max()) for chosen in sets)
    return diameters[1] > diameters[0]


def answers(updates_SP: np.ndarray, f: int) -> dict[str, list[float]]:
    """ByzFL's result of each rule; its ARC writes into its argument, so each gets a copy."""
    found = {
        "mean": Average()(updates_SP.copy()),
        "median": Median()(updates_SP.copy()),
        "trimmed_mean": TrMean(f=f)(updates_SP.copy()),
        "mda": MDA(f=f)(updates_SP.copy()),
        "nnm+mean": Average()(NNM(f=f)(updates_SP.copy())),
        "nnm+median": Median()(NNM(f=f)(updates_SP.copy())),
        "nnm+trimmed_mean": TrMean(f=f)(NNM(f=f)(updates_SP.copy())),
        "arc+trimmed_mean": TrMean(f=f)(ARC(f=f)(updates_SP.copy())),
        "arc+nnm+trimmed_mean": TrMean(f=f)(NNM(f=f)(ARC(f=f)(updates_SP.copy()))),
    }
    return {name: np.asarray(update_P).tolist() for name, update_P in found.items()}


def main() -> None:
    """Write the cases."""
    generator = np.random.default_rng(20240711)
    cases = []
    for num_sites, num_byzantine, num_values in SIZES:
        updates_SP = cohort(num_sites, num_byzantine, num_values, generator)
        while not has_one_tightest_set(updates_SP, num_byzantine):
            updates_SP = cohort(num_sites, num_byzantine, num_values, generator)
        updates = [[round(value, 3) for value in row] for row in updates_SP.tolist()]
        cases.append(
            {"num_byzantine": num_byzantine, "updates": updates, "answers": answers(updates_SP, num_byzantine)}
        )
    made = {"source": f"byzfl {version('byzfl')}", "made_by": "make_byzfl_vectors.py"}
    head = json.dumps(made).removesuffix("}")
    lines = ",\n".join(json.dumps(case) for case in cases)
    sys.stdout.write(f'{head}, "cases": [\n{lines}\n]}}\n')


main()
