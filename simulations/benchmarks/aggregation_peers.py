"""What `wardround bench aggregation` measures beside the rules: ByzFL's and Flower's functions of the same name.

ByzFL is no dependency: where it is not installed, Flower alone is left. It does the same kind of work, not always to
the same end: its geometric median stops after three steps, its centred clipping starts at zero with a radius that is
given, its CAF takes one step of a power iteration. Left out is its SMEA: a minute a call at the size of the bench.

Shapes: S sites, P values of an update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from flwr.common import NDArrays
from flwr.server.strategy.aggregate import (
    aggregate,
    aggregate_bulyan,
    aggregate_krum,
    aggregate_median,
    aggregate_trimmed_avg,
)
from torch import Tensor

BYZFL = "byzfl"
FLOWER = "flwr"
CLIPPING_STEPS = 3
RADIUS = 1.0
BUCKET_SIZE = 2

Results = list[tuple[NDArrays, int]]


@dataclass(frozen=True)
class Peer:
    """Somebody else's function of a composition.

    Attributes:
        library: Whose.
        call: Takes the updates `[S, P]`, which it leaves as they are, and gives an update `[P]`.
        num_copies: Memory that it takes in the meantime, as so many times the updates, roughly.
    """

    library: str
    call: Callable[[Tensor], Any]
    num_copies: float


def peers_of(name: str, *, num_sites: int, num_byzantine: int) -> list[Peer]:
    """The peers of a composition that are installed.

    Args:
        name: As in `aggregator.name`.
        num_sites: S.
        num_byzantine: f.
    """
    peers = []
    if (parts := _byzfl_parts(name.split("+"), num_byzantine)) is not None:
        # Nearest-neighbour mixing gathers the S - f nearest of each update before it takes their mean.
        num_copies = num_sites - num_byzantine + 2 if "nnm" in name.split("+") else 4
        peers.append(Peer(BYZFL, lambda updates_SP: _in_turn(parts, updates_SP), num_copies))
    if (function := _flower_functions(num_byzantine).get(name)) is not None:
        peers.append(Peer(FLOWER, lambda updates_SP: function(_as_results(updates_SP))[0], 6))
    return peers


def _byzfl_parts(names: list[str], num_byzantine: int) -> list[Callable[[Any], Any]] | None:
    """ByzFL's stages and rule of a composition; None where it lacks one, or is not installed."""
    try:
        byzfl = import_module(BYZFL)
    except ImportError:
        return None
    makers = _byzfl_makers(byzfl, num_byzantine)
    return [makers[name]() for name in names] if makers.keys() >= set(names) else None


def _byzfl_makers(byzfl: ModuleType, num_byzantine: int) -> dict[str, Callable[[], Callable[[Any], Any]]]:
    return {
        "arc": lambda: byzfl.ARC(num_byzantine),
        "bucketing": lambda: byzfl.Bucketing(BUCKET_SIZE),
        "caf": lambda: byzfl.CAF(num_byzantine),
        "centered_clipping": lambda: byzfl.CenteredClipping(L=CLIPPING_STEPS, tau=RADIUS),
        "clipping": lambda: byzfl.Clipping(RADIUS),
        "geometric_median": byzfl.GeometricMedian,
        "krum": lambda: byzfl.Krum(num_byzantine),
        "mda": lambda: byzfl.MDA(num_byzantine),
        "mean": byzfl.Average,
        "median": byzfl.Median,
        "multi_krum": lambda: byzfl.MultiKrum(num_byzantine),
        "nnm": lambda: byzfl.NNM(num_byzantine),
        "trimmed_mean": lambda: byzfl.TrMean(num_byzantine),
    }


def _in_turn(parts: list[Callable[[Any], Any]], updates_SP: Tensor) -> Any:  # noqa: ANN401 - what ByzFL gives
    # Its clipping writes into a matrix that it is handed; of a list of updates it makes its own.
    found: Any = list(updates_SP) if len(parts) > 1 else updates_SP
    for part in parts:
        found = part(found)
    return found


def _flower_functions(num_byzantine: int) -> dict[str, Callable[[Results], NDArrays]]:
    return {
        "bulyan": lambda results: aggregate_bulyan(results, num_byzantine, aggregate_krum, to_keep=0),
        "krum": lambda results: aggregate_krum(results, num_byzantine, 0),
        "mean": aggregate,
        "median": aggregate_median,
        "multi_krum": lambda results: aggregate_krum(results, num_byzantine, len(results) - num_byzantine),
        # It cuts the share off rounded down.
        "trimmed_mean": lambda results: aggregate_trimmed_avg(results, (num_byzantine + 0.5) / len(results)),
    }


def _as_results(updates_SP: Tensor) -> Results:
    """As Flower holds replies: a model of one array, and one example a site."""
    return [([update_P], 1) for update_P in updates_SP.numpy()]
