"""Sign flip: the update points the other way (Li et al., RSA, AAAI 2019)."""

from __future__ import annotations

from simulations.attacks.interface import Attack, Scene
from simulations.attacks.replies import Arrays, changing_update


def sign_flip(update: Arrays, _: Scene) -> Arrays:
    """Minus the site's own update, no longer than it: the attacker need see nothing of the others."""
    return {name: -array for name, array in update.items()}


ATTACK = Attack(wrap=changing_update(sign_flip))
