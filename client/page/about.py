"""The page about the model: what it is for, who trained it at what price, and whether its probabilities hold.

All of it is from the model's own folder, its card and the counts of public studies, and from the file of such counts
that the hospital names for hits of plans; nothing of this hospital is in it. So it is made once, when the page is
started, and a folder whose card is damaged is told then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from client.deploy.searcher import MadeCodes
from client.mediator.plan_relevance import PlanRelevance
from client.page.reliability_plot import Plot, plot_of
from client.page.render import MODEL, render
from common.errors import TrustError
from common.model.form import CARD_FILE, REMEDY
from common.model.relevance import read_relevance
from common.retrieval.relevance import Relevance

MODEL_PAGE = "/model"
_MOST_CARD_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class About:
    """What a model's folder says of the model.

    Attributes:
        card: Its card.
        relevance: How sure its hits are; None where it does not say.
        by_plan: How sure a hit is by its rank under a plan; None where the hospital names no file that tells it.
        bit_width: Bits of its codes.
        source: The card's file, for errors.
    """

    card: Mapping[str, Any]
    relevance: Relevance | None
    bit_width: int
    source: Path
    by_plan: PlanRelevance | None = None

    @property
    def plots(self) -> list[Plot]:
        """The reliability of each kind of search with whole codes."""
        return self._plots(self.relevance)

    @property
    def plots_by_plan(self) -> list[Plot]:
        """The same of own hits that are held against a plan."""
        return self._plots(None if self.by_plan is None else self.by_plan.relevance)

    def _plots(self, relevance: Relevance | None) -> list[Plot]:
        curves = () if relevance is None else relevance.curves
        return [plot_of(curve) for curve in curves if curve.bit_width == self.bit_width]

    def page(self, site: str) -> str:
        """The page, as this hospital shows it.

        Raises:
            TrustError: The card is damaged.
        """
        try:
            return render(
                MODEL,
                site=site,
                user="",
                card=self.card,
                relevance=self.relevance,
                plots=self.plots,
                by_plan=None if self.by_plan is None else self.by_plan.relevance,
                plots_by_plan=self.plots_by_plan,
                bit_width=self.bit_width,
            )
        except (jinja2.UndefinedError, TypeError, ValueError, AttributeError) as error:
            raise TrustError(f"{self.source}: is damaged, or of another wardround; {REMEDY}") from error


def read_about(folder: Path, model: MadeCodes, *, by_plan: PlanRelevance | None = None) -> About | None:
    """What a model's folder says of the model; None where it holds no card.

    Args:
        folder: The model's.
        model: The model, loaded.
        by_plan: What the hospital's file says of hits of plans.

    Raises:
        TrustError: The card or the counts are damaged, or of another model.
    """
    path = folder / CARD_FILE
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            card = json.loads(file.read(_MOST_CARD_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise TrustError(f"{path}: cannot be read, or is damaged; {REMEDY}") from error
    if not isinstance(card, dict) or card.get("model") != model.digest:
        raise TrustError(f"{path}: is the card of another model; {REMEDY}")
    return About(card=card, relevance=read_relevance(folder), bit_width=model.bit_width, source=path, by_plan=by_plan)
