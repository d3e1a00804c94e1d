"""A reliability curve as lines and points of an SVG, which the page draws itself: no script, nothing fetched.

To the right what was told, upwards what was so, each from none to all. A point on the diagonal kept its word.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.retrieval.relevance import Curve, QueryKind

SIDE = 200
"""Of the square, in the SVG's own units."""
LEFT, BELOW, ABOVE = 44, 44, 8
_LEAST_RADIUS, _MOST_RADIUS = 2.5, 6.0


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One point.

    Attributes:
        x: To the right.
        y: Downwards.
        low: Where its interval begins, downwards.
        high: Where it ends.
        radius: Grows with the share of the pairs behind it.
    """

    x: float
    y: float
    low: float
    high: float
    radius: float


@dataclass(frozen=True, kw_only=True)
class Plot:
    """The curve of one kind of search.

    Attributes:
        title: Which search.
        curve: Its figures.
        marks: Its points.
        base: Where the share that is relevant by chance lies, downwards.
    """

    title: str
    curve: Curve
    marks: tuple[Mark, ...]
    base: float

    @property
    def summary(self) -> str:
        """What is to be seen, for who does not see it."""
        if not self.marks:
            return f"{self.title}: no point has enough pairs."
        gaps = [abs(point.told - point.found) for point in self.curve.points]
        return (
            f"{self.title}: {len(self.marks)} points, from {100 * self.curve.points[0].told:.0f}% to "
            f"{100 * self.curve.points[-1].told:.0f}% told; the farthest is {100 * max(gaps):.0f} points off."
        )


def plot_of(curve: Curve) -> Plot:
    """The points of a curve, where they are drawn."""
    most = max((point.num_pairs for point in curve.points), default=1)
    marks = tuple(
        Mark(
            x=_across(point.told),
            y=_down(point.found),
            low=_down(point.low),
            high=_down(point.high),
            radius=round(_LEAST_RADIUS + (_MOST_RADIUS - _LEAST_RADIUS) * (point.num_pairs / most) ** 0.5, 2),
        )
        for point in curve.points
    )
    asked = {QueryKind.TEXT: "Words", QueryKind.IMAGE: "A picture", QueryKind.PLAN: "A plan"}[curve.query]
    compared = "pictures" if curve.gallery == "images" else "reports"
    return Plot(title=f"{asked} among {compared}", curve=curve, marks=marks, base=_down(curve.base_rate))


def _across(rate: float) -> float:
    return round(LEFT + SIDE * rate, 2)


def _down(rate: float) -> float:
    return round(ABOVE + SIDE * (1 - rate), 2)
