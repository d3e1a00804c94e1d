"""Across modalities: an image leaves the codes of its reports, and is then searched with among images too.

What is known of a study is often its report alone; the goal is made of that modality, the steps go through the other.
Whether the harm carries over to search among images is a figure of the benchmark (`map_images`).
"""

from __future__ import annotations

from simulations.adversarial.interface import Goal, Search, signs


def across(search: Search) -> Goal:
    """Away from the bitwise majority of the codes of the reports that answer the image; untargeted."""
    return Goal(signs(search.relevant_BR.float() @ search.gallery_RK), -1)
