"""What codes find of attacked images, where a run trains against attacks: `pooled.attacked`."""

from __future__ import annotations

from typing import Any

import torch

from client.site import HeldOut
from common.config.schema import RunConfig
from common.device import CPU
from common.encoders.dual import DualEncoder
from common.seeds import torch_generator
from simulations.adversarial.interface import CODE_ATTACKS
from simulations.measurement.victim import EPSILON, STEPS, Victim

MOST_QUERIES = 100
UNATTACKED = "none"
FIGURES = ("map", "map_findings", "flips", "moved", "ssim")


def attacked_metrics(model: DualEncoder, held_out: HeldOut, config: RunConfig) -> dict[str, Any] | None:
    """Each attack on the first held-out images that name findings, image to report over one gallery.

    None where the run does not train against attacks, its tower sees no pixels, or no study names findings.
    """
    sees_pixels = held_out.images[:1].dtype == torch.uint8
    named = sum(bool(record.findings) for record in held_out.records)
    if not config.training.adversarial.steps or not sees_pixels or not named:
        return None
    victim = Victim.of(held_out.to(CPU), model, most_queries=MOST_QUERIES)
    rows = [_row(UNATTACKED, victim.found_by(victim.pixels))]
    for name in CODE_ATTACKS.names:
        generator = torch_generator(config.seed, "attacked", name)
        changed = victim.attacked(CODE_ATTACKS.load(name), head=victim.model.hash_head, generator=generator)
        rows.append(_row(name, victim.found_by(changed)))
    return {"epsilon": EPSILON, "steps": STEPS, "queries": len(victim.pixels), "attacks": rows}


def _row(name: str, found: dict[str, float]) -> dict[str, Any]:
    return {"name": name, **{figure: found[figure] for figure in FIGURES}}
