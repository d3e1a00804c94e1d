"""A privacy audit as one page that needs no network: the claims first, then the evidence of each.

Plots are drawings in the page itself (SVG) and pictures are data in it, so it holds no script, and its content security
policy allows none.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image as PillowImage

from common.config.load import config_digest
from common.files import write_atomically
from common.templates import page_templates
from simulations.audits.privacy import words
from simulations.audits.privacy.interface import Curve, Outcome, Picture, Plot
from simulations.audits.privacy.subject import Subject

WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 720.0, 320.0, 70.0, 50.0, 16.0
NUM_TICKS = 4


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A plot, in a drawing's units.

    Attributes:
        plot: What is drawn.
        lines: Label, points and intervals `(x, low, high)` of each curve.
        x_ticks: Place and text.
        y_ticks: Place and text.
    """

    plot: Plot
    lines: tuple[tuple[str, tuple[tuple[float, float], ...], tuple[tuple[float, float, float], ...]], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def write_page(outcomes: Sequence[Outcome], subject: Subject, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: It cannot be written; the file is named.
    """
    write_atomically(path, render(outcomes, subject).encode())


def render(outcomes: Sequence[Outcome], subject: Subject) -> str:
    """The page."""
    here = Path(__file__).parent
    environment = page_templates(here)
    return environment.get_template("page.html").render(
        outcomes=outcomes,
        config=subject.config,
        config_digest=config_digest(subject.config),
        num_sites=len(subject.consortium.sites),
        drawn={outcome.name: [draw(plot) for plot in outcome.plots] for outcome in outcomes},
        style=(here / "page.css").read_text(encoding="utf-8"),
        words=words,
        png=_png,
    )


def draw(plot: Plot) -> Drawn:
    """A plot's curves, scaled to the drawing."""
    across = _Scale.of([value for curve in plot.curves for value in curve.x], LEFT, WIDTH - EDGE)
    up = _Scale.of(
        [value for curve in plot.curves for value in (*curve.y, *curve.low, *curve.high)], HEIGHT - BOTTOM, EDGE
    )
    return Drawn(
        plot=plot,
        lines=tuple((curve.label, _points(curve, across, up), _bars(curve, across, up)) for curve in plot.curves),
        x_ticks=across.ticks(),
        y_ticks=up.ticks(),
    )


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def of(cls, values: Sequence[float], start: float, stop: float) -> _Scale:
        low, high = min(values, default=0.0), max(values, default=1.0)
        margin = (high - low or abs(high) or 1.0) * 0.04
        return cls(low - margin, high + margin, start, stop)

    def at(self, value: float) -> float:
        return round(self.start + (self.stop - self.start) * (value - self.low) / (self.high - self.low), 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Whole multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / NUM_TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
        values = [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return tuple((self.at(value), f"{value:.4g}") for value in values)


def _points(curve: Curve, across: _Scale, up: _Scale) -> tuple[tuple[float, float], ...]:
    return tuple((across.at(x), up.at(y)) for x, y in zip(curve.x, curve.y, strict=True))


def _bars(curve: Curve, across: _Scale, up: _Scale) -> tuple[tuple[float, float, float], ...]:
    if not curve.low:
        return ()
    ends = zip(curve.x, curve.low, curve.high, strict=True)
    return tuple((across.at(x), up.at(low), up.at(high)) for x, low, high in ends)


def _png(picture: Picture) -> str:
    written = BytesIO()
    PillowImage.fromarray(picture.pixels_HW).save(written, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
