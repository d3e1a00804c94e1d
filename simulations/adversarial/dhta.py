"""DHTA: an image comes to the anchor code of other studies (Bai et al., Targeted Attack for Deep Hashing, 2020)."""

from __future__ import annotations

from simulations.adversarial.interface import Goal, Search, signs


def dhta(search: Search) -> Goal:
    """Towards the bitwise majority of the wanted items' codes, which is the code nearest to all of them."""
    return Goal(signs(search.wanted_BR.float() @ search.gallery_RK), 1)
