"""Pipelines whose noise is broken on purpose, and the check of canaries or of colluders that catches each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from client.dp.grid_noise import NoiseParts
from client.dp.round_noise import Pairing, RoundNoise
from simulations.audits.privacy.colluders_view import STEPS
from simulations.audits.privacy.pipeline import PRODUCTION, Pipeline
from tests.simulations.audits.privacy.broken import NoiseOverBatch, _keyed, noise_of, with_source


class LastStepAlone(RoundNoise):
    """Noise is shared in the last step of a round, as if a round had one."""

    def next_step(self) -> NoiseParts:
        """See `RoundNoise`."""
        parts = super().next_step()
        return parts if self._steps % STEPS == 0 else replace(parts, shared=())


def _opened(kind: type[RoundNoise] = RoundNoise, **changed: Any) -> Callable[..., RoundNoise]:
    def open_round(pairing: Pairing, statements: Any, *, context: str) -> RoundNoise:
        noise = pairing.open_round(statements, context=changed.get("context", context))
        law = replace(noise.law, colluding=noise.law.colluding - changed.get("fewer", 0))
        return kind(law=law, pairs=noise.pairs, absent=changed.get("absent", noise.absent), context=noise.context)

    return open_round


def _opening(open_round: Callable[..., RoundNoise]) -> Pipeline:
    return replace(PRODUCTION, open_round=open_round)


SAME_OPENING = _opening(_opened())
"""Broken in nothing: the control of those below."""

OF_CANARIES: dict[str, Pipeline] = {
    "noise off": noise_of(0.0),
    "noise halved": noise_of(0.5),
    "noise divided by the batch": with_source(NoiseOverBatch),
}
"""Caught by `canaries-everyone`."""

OF_COLLUDERS: dict[str, Pipeline] = {
    "noise halved": noise_of(0.5),
    "noise a fifth too narrow": noise_of(0.8),
    "one noise key on two sites": replace(PRODUCTION, randomness=_keyed(lambda _, number: number)),
    "one colluder more than stated": _opening(_opened(fewer=1)),
    "pair noise only in the last step": _opening(_opened(LastStepAlone)),
    "pair noise used twice": _opening(_opened(context="c" * 64)),
    "absent peer not replaced": _opening(_opened(absent=0)),
}
"""Caught by `colluders`, on a run that shares noise."""
