"""The weights of a model by name: `frozen/image/...`, `frozen/report/...` and `trained/...`.

All that was trained is there, the public prototypes beside the hash head too, so that the digest of the trained arrays
is that in the run's report.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import nn

from common.encoders.dual import DualEncoder
from common.encoders.public_fit import FrozenPart
from common.errors import AdmissionError, TrustError
from common.wire.update import NamedArrays, load_into, model_arrays

TRAINED = "trained/"
_IMAGE, _REPORT = "frozen/image/", "frozen/report/"
_ADVERSARY = "adversary."
"""What hid groups in training: kept for the digest, and not built for codes."""


def named_weights(frozen: FrozenPart, trained: NamedArrays) -> NamedArrays:
    """All arrays of a model.

    Args:
        frozen: The part that stayed as the public fit left it.
        trained: The arrays of the part that was trained.
    """
    return {
        **_prefixed(_IMAGE, model_arrays(frozen.image)),
        **_prefixed(_REPORT, model_arrays(frozen.report)),
        **_prefixed(TRAINED, trained),
    }


def load_weights(weights: NamedArrays, *, frozen: FrozenPart, dual: DualEncoder) -> None:
    """Write the arrays into a model that was built from its form.

    Raises:
        TrustError: They are not that model's, or one is not finite.
    """
    broken = next((name for name, array in weights.items() if not np.isfinite(array).all()), None)
    if broken is not None:
        raise TrustError(f"{broken}: holds a number that is not finite")
    trained = below(weights, TRAINED)
    parts: tuple[tuple[nn.Module, NamedArrays], ...] = (
        (frozen.image, below(weights, _IMAGE)),
        (frozen.report, below(weights, _REPORT)),
        (dual, {name: array for name, array in trained.items() if not name.startswith(_ADVERSARY)}),
    )
    if sum(len(arrays) for _, arrays in parts) + _num_of_adversary(trained) != len(weights):
        raise TrustError("holds arrays that no model has")
    for module, arrays in parts:
        with _as_trust_error():
            load_into(module, arrays)


def below(weights: NamedArrays, prefix: str) -> NamedArrays:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}


def _num_of_adversary(trained: NamedArrays) -> int:
    return sum(name.startswith(_ADVERSARY) for name in trained)


def _prefixed(prefix: str, arrays: NamedArrays) -> NamedArrays:
    return {f"{prefix}{name}": array for name, array in arrays.items()}


@contextmanager
def _as_trust_error() -> Iterator[None]:
    try:
        yield
    except AdmissionError as error:
        raise TrustError(f"its arrays are not those of the model's form ({error})") from error
