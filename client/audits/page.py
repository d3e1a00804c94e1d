"""A bias audit as one page that needs no network: sentences first, then a plot and a table of each audit.

The plots are drawings in the page itself (SVG), so it holds no script, and its content security policy allows none.
"""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image as PillowImage

from client.audits import words
from client.audits.interface import Audited
from common.errors import ConfigError
from common.files import write_atomically
from common.templates import page_templates
from common.types import Image

if TYPE_CHECKING:
    from client.audits.audit import BiasAudit
    from client.audits.looks import Place

DRAWN_SIDE = 800
"""Side of the grid on which a place is drawn; a multiple of its steps."""

LABEL_HEIGHT = 15.0
"""Least distance between two labels of the plane, in the drawing's units."""


def check_page(path: Path) -> None:
    """Return where a page can be written to a path.

    Raises:
        ConfigError: It is to be no HTML file, or to lie in a folder that is not there.
    """
    if path.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(f"--report {path}: the page is HTML; give a name that ends in .html")
    if not path.parent.is_dir():
        raise ConfigError(f"--report {path}: no such folder {path.parent}; make it first")


def write_page(bias: BiasAudit, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: It cannot be written; the file is named.
    """
    write_atomically(path, render(bias).encode())


def render(bias: BiasAudit) -> str:
    """The page."""
    here = Path(__file__).parent
    environment = page_templates(here)
    return environment.get_template("page.html").render(
        bias=bias,
        headline=words.headline(bias.num_found),
        figures={audit.name: _drawn(audit) for audit in bias.audits},
        style=(here / "page.css").read_text(encoding="utf-8"),
        words=words,
        png=_png,
        window=_window,
    )


def _drawn(audit: Audited) -> dict[str, Any] | None:
    figure = dict(audit.figure)
    if "examples" in figure:
        return figure | {"kind": "regions"}
    if not figure or not figure["label"]:
        return None
    if "utility" in figure:
        return figure | {"kind": "plane", "text_y": _spread_labels(figure["utility"])}
    return figure | {"kind": "forest", "unit": words.percent}


def _spread_labels(utility: list[float]) -> list[float]:
    """Heights of the labels, each as near its point as the others let it be."""
    most = max(*utility, 0.1)
    heights, last = [0.0] * len(utility), 350.0 + LABEL_HEIGHT
    for i in sorted(range(len(utility)), key=lambda i: utility[i]):
        last = min(354.0 - 320.0 * utility[i] / most, last - LABEL_HEIGHT)
        heights[i] = last
    return heights


def _png(picture: Image) -> str:
    """A grey picture as a data URI, so that the page needs no other file."""
    written = BytesIO()
    PillowImage.fromarray(picture).save(written, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def _window(place: Place) -> tuple[float, float, float]:
    """Left, top and side of a place in a picture of 100 x 100."""
    rows, columns = place.window(DRAWN_SIDE)
    scale = 100.0 / DRAWN_SIDE
    return columns.start * scale, rows.start * scale, (rows.stop - rows.start) * scale
