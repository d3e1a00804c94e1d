"""HAG: an image leaves its own code (Yang, Liu, Deng, Tao: Adversarial Examples for Hamming Space Search, 2018)."""

from __future__ import annotations

from simulations.adversarial.interface import Goal, Search, signs


def hag(search: Search) -> Goal:
    """Away from the image's own code; untargeted, and nothing of the gallery need be known."""
    return Goal(signs(search.own_BK), -1)
