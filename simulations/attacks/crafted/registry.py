"""The crafted updates by name, for whoever attacks an aggregation rule without a federation around it."""

from __future__ import annotations

from common.config.registry import Registry
from simulations.attacks.crafted.interface import Craft

CRAFTED: Registry[Craft] = Registry(
    "attack.name",
    {
        "alie": "simulations.attacks.crafted.alie:alie",
        "gaussian": "simulations.attacks.crafted.gaussian:gaussian",
        "ipm": "simulations.attacks.crafted.ipm:ipm",
        "mimic": "simulations.attacks.crafted.mimic:mimic",
        "min_max": "simulations.attacks.crafted.min_max:min_max",
        "min_sum": "simulations.attacks.crafted.min_sum:min_sum",
    },
)
