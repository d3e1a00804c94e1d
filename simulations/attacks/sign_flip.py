"""Sign flip: the update points the other way (Li et al., RSA, AAAI 2019); the length is our choice."""

from __future__ import annotations

from simulations.attacks.interface import Attack, Scene
from simulations.attacks.model_replacement import boosted
from simulations.attacks.replies import Arrays, changing_update


def sign_flip(update: Arrays, scene: Scene) -> Arrays:
    """Minus `n / f` times the site's own update, where the bound allows: the attacker need see nothing of the others.

    At the update's own length the honest sites would still outvote it under the mean.
    """
    return {name: -array for name, array in boosted(update, scene).items()}


ATTACK = Attack(wrap=changing_update(sign_flip))
