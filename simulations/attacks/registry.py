"""The attacks by name (`attack.name`)."""

from __future__ import annotations

from collections.abc import Callable

from common.config.registry import Registry
from simulations.runtime import Handler

ATTACKS: Registry[Callable[[Handler], Handler]] = Registry(
    "attack.name",
    {
        "none": "simulations.attacks.faults:none",
        "nan": "simulations.attacks.faults:nan",
        "raise": "simulations.attacks.faults:raising",
        "other_keys": "simulations.attacks.faults:other_keys",
        "other_shape": "simulations.attacks.faults:other_shape",
        "sign_flip": "simulations.attacks.sign_flip:sign_flip",
        "silent": "simulations.attacks.faults:silent",
    },
)
"""Each takes a site's ClientApp and returns what answers in its place."""
