"""`wardround audit strength`: how strong each attack is over epsilon, own and shared noise, and the width of codes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from common.config.load import config_digest, load_config
from common.console import Terminal
from common.files import write_atomically
from simulations.audits.privacy.pipeline import PRODUCTION
from simulations.audits.privacy.strength import Strengths, cells_of
from simulations.audits.privacy.strength_kept import STRENGTH_FILE, KeptStrengths
from simulations.audits.privacy.strength_page import render

SCENARIO = "audit"
PAGE_FILE = "strength.html"


def strength_command(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Config keys to set; configs/base.yaml lists them all."),
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the figures; one that holds some is gone on with.")
    ],
    scenario: Annotated[
        str, typer.Option(help="Lay configs/scenarios/NAME.yaml over the base; audit is a small cohort.")
    ] = SCENARIO,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Measure how strong each attack is with less and with more privacy.

    Epsilons 1, 2, 4, 8 and none, own and shared noise, codes of 64, 128 and 256 bits; the config's own epsilon, noise
    and width are set aside. It takes a quarter of an hour and more, and may be stopped: every cell is kept in DIR.
    Writes strength.json, and strength.html to show to an ethics board. Exits with 0 whatever is found.
    """
    config = load_config(overrides or [], scenario=scenario)
    out.mkdir(parents=True, exist_ok=True)
    kept = KeptStrengths(out / STRENGTH_FILE, config_digest(config))
    logging.getLogger("wardround.site").setLevel(logging.ERROR)
    cells, strengths = cells_of(config), Strengths(PRODUCTION, config)
    progress = Terminal(stderr=True)
    for number, cell in enumerate(cells, start=1):
        if cell not in kept.found:
            progress.print(f"{number} of {len(cells)}: {cell.label}")
            kept.add(strengths.measure(cell))
        found = [kept.found[one] for one in cells if one in kept.found]
        page = render(found, bit_width=config.code.bit_width, config_digest=config_digest(config))
        write_atomically(out / PAGE_FILE, page.encode())
    if as_json:
        typer.echo(json.dumps(kept.as_object(), indent=2, allow_nan=False))
    else:
        Terminal().print(f"Figures: {out / STRENGTH_FILE}; page: {out / PAGE_FILE}")
