"""Sign flip: the update points the other way (Li et al., RSA, AAAI 2019)."""

from __future__ import annotations

from simulations.attacks.replies import changing_update
from simulations.runtime import Handler


def sign_flip(honest: Handler) -> Handler:
    """A site that sends minus its update."""
    return changing_update(honest, lambda update: {name: -array for name, array in update.items()})
