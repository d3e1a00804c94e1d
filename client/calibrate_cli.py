"""`wardround site calibrate`: the private settings that public data ask for, found without touching a patient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client.calibrate import calibrate
from client.data.anchors import read_anchors
from common.config.load import read_run_config
from common.encoders.public_fit import fit_to_public, fresh_model, split_frozen
from common.encoders.registry import ENCODERS
from common.errors import AdmissionError, ConfigError
from common.privacy.bands import middle_of


def calibrate_command(
    run: Annotated[Path, typer.Option(help="The run's config.yaml.")],
    bands: Annotated[str, typer.Option(help="Bands of patients of all sites, such as 64-127,128-255,64-127.")],
    *,
    anchors: Annotated[
        Path | None, typer.Option(help="Folder with the public studies; the run's data.root when left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print settings and reasons as one JSON object.")] = False,
) -> None:
    """Choose the settings of private training from public studies and public bands alone.

    Reads the public studies, fits the first model to them as a run does, and prints the settings as KEY=VALUE, ready
    for a run's command line. The same config, anchors and bands give the same settings, at every hospital.
    """
    config = read_run_config(run)
    if config.privacy.epsilon is None:
        raise ConfigError(f"{run}: privacy.epsilon is null; a run without privacy has nothing to calibrate")
    for band in (named := bands.split(",")):
        _check_band(band)
    if anchors is not None:
        config.data.root = str(anchors)
    console = Console(stderr=True)
    with console.status("Reading and encoding the public studies") as status:
        encoder = ENCODERS.load(config.encoder.name)(config.encoder)
        public = read_anchors(config.data, encoder)
        status.update("Fitting the first model to them")
        model = fresh_model(encoder, config)
        fit_to_public(model, public, config)
        frozen, model = split_frozen(model)
        if frozen is not None:
            images, reports = frozen.features_of(public.images, public.reports)
            public = type(public)(images, reports, public.patients)
            fit_to_public(model, public, config)
        found = calibrate(config, public, model, named, progress=status.update).as_json()
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    for key, value in found["settings"].items():
        typer.echo(f"{key}={value}")


def _check_band(band: str) -> None:
    try:
        middle_of(band)
    except AdmissionError as error:
        raise ConfigError(f"--bands {band}: not a band; give those of site check, such as 64-127") from error
