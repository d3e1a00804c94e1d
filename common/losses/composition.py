"""How `loss.name` composes an objective: a contrast, and terms beside it, as in `anchor_contrast+distillation`."""

from __future__ import annotations

from common.config.schema import LossConfig
from common.errors import ConfigError

JOIN = "+"
UNPAIRED, INVARIANCE = "unpaired", "invariance"
"""Terms that ask for more than the studies that have both halves, as they are."""


def contrast_of(loss: LossConfig) -> str:
    """Name of the contrast: the first."""
    return loss.name.partition(JOIN)[0]


def terms_of(loss: LossConfig) -> tuple[str, ...]:
    """Names of the terms: all others.

    Raises:
        ConfigError: One is named twice.
    """
    terms = tuple(loss.name.split(JOIN)[1:])
    if len(set(terms)) < len(terms):
        raise ConfigError(f"loss.name={loss.name}: names a term twice; remove one")
    return terms


def trains_unpaired(loss: LossConfig) -> bool:
    """Whether studies that lack a half are trained on."""
    return UNPAIRED in terms_of(loss)


def compares_views(loss: LossConfig) -> bool:
    """Whether each image is compared with a view of it."""
    return INVARIANCE in terms_of(loss)


def with_term(loss: LossConfig, term: str) -> str:
    """The composition with a term more."""
    return JOIN.join([without_term(loss, term), term])


def without_term(loss: LossConfig, term: str) -> str:
    """The composition without a term."""
    return JOIN.join([contrast_of(loss), *(other for other in terms_of(loss) if other != term)])
