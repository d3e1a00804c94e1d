"""`wardround site calibrate`: the private settings that public data ask for, found without touching a patient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from client.data.anchor_folder import AnchorFolder
from client.data.anchors import read_anchors
from client.data.features import CachedEncoder
from client.training.calibrate import calibrate
from common.config.load import read_run_config
from common.config.ranges import check_band
from common.config.schema import DataConfig
from common.console import Terminal
from common.device import check_device
from common.encoders.cache import FeatureCache, cache_folder
from common.encoders.public_fit import first_model, start_of
from common.encoders.public_parts import part_public
from common.encoders.registry import ENCODERS
from common.errors import ConfigError


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
    check_device(config.device)
    named = bands_of(bands)
    console = Terminal(stderr=True)
    with console.status("Reading and encoding the public studies") as status:
        encoder = ENCODERS.load(config.encoder.name)(config.encoder)
        cached = CachedEncoder(encoder, FeatureCache(cache_folder(config.encoder.cache)))
        public = read_anchors(_folder(config.data, anchors), cached).features
        status.update("Fitting the first model to them")
        anchor_features = part_public(public, config).anchors
        start = start_of(first_model(encoder, anchor_features, config), anchor_features, config)
        found = calibrate(config, start.anchors, start.model, named, progress=status.update).as_json()
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    for key, value in found["settings"].items():
        typer.echo(f"{key}={value}")


def _folder(data: DataConfig, anchors: Path | None) -> AnchorFolder:
    root = anchors or data.root
    if not root:
        raise ConfigError("data.root: missing; name the folder that holds the public studies with --anchors")
    return AnchorFolder(
        root=Path(root),
        adapter=data.adapter,
        alone=anchors is not None,
        split=data.split,
        site_column=data.site_column,
        allow_burned_in=data.allow_burned_in,
    )


def bands_of(text: str) -> tuple[str, ...]:
    """The bands of `--bands`, such as 64-127,128-255,64-127; none of an empty text.

    Raises:
        ConfigError: One of them is no band.
    """
    bands = tuple(text.split(",")) if text else ()
    for band in bands:
        check_band(band, "--bands")
    return bands
