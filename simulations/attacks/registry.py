"""The attacks by name (`attack.name`)."""

from __future__ import annotations

from common.config.registry import Registry
from simulations.attacks.interface import Attack

ATTACKS: Registry[Attack] = Registry(
    "attack.name",
    {
        "alie": "simulations.attacks.crafted.alie:ATTACK",
        "backdoor": "simulations.attacks.backdoor:ATTACK",
        "gaussian": "simulations.attacks.crafted.gaussian:ATTACK",
        "inf": "simulations.attacks.faults:INF",
        "ipm": "simulations.attacks.crafted.ipm:ATTACK",
        "label_flip": "simulations.attacks.label_flip:ATTACK",
        "malformed": "simulations.attacks.malformed:ATTACK",
        "mimic": "simulations.attacks.crafted.mimic:ATTACK",
        "min_max": "simulations.attacks.crafted.min_max:ATTACK",
        "min_sum": "simulations.attacks.crafted.min_sum:ATTACK",
        "model_replacement": "simulations.attacks.model_replacement:ATTACK",
        "nan": "simulations.attacks.faults:NAN",
        "none": "simulations.attacks.faults:NONE",
        "other_keys": "simulations.attacks.faults:OTHER_KEYS",
        "other_shape": "simulations.attacks.faults:OTHER_SHAPE",
        "raise": "simulations.attacks.faults:RAISE",
        "replayed": "simulations.attacks.old_replies:REPLAYED",
        "sign_flip": "simulations.attacks.sign_flip:ATTACK",
        "silent": "simulations.attacks.faults:SILENT",
        "stale": "simulations.attacks.old_replies:STALE",
        "weight_lying": "simulations.attacks.weight_lying:ATTACK",
    },
)
