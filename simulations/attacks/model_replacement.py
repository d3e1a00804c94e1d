"""Model replacement: an update long enough to outvote the honest ones (Bagdasaryan et al., AISTATS 2020)."""

from __future__ import annotations

from simulations.attacks.crafted.interface import shortened
from simulations.attacks.interface import Attack, Scene
from simulations.attacks.label_flip import flipped
from simulations.attacks.replies import Arrays, as_arrays, as_vector, changing_update


def boosted(update: Arrays, scene: Scene) -> Arrays:
    """The site's own update times `n / f`, where the bound allows.

    Under an equal-weight mean the attackers' part is then their whole update: near convergence, where the honest
    updates cancel, the server takes over their model.
    """
    longer_P = scene.boost * as_vector(update)
    return as_arrays(shortened(longer_P, max_norm=scene.config.federation.max_update_norm), like=update)


ATTACK = Attack(poison=flipped, wrap=changing_update(boosted))
"""The model that replaces is one that was trained on flipped labels."""
