"""`wardround site index`: a hospital's studies become searchable, or stop being so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from client.policy.site_config import load_site_config, study_folder
from client.policy.site_schema import SiteConfig
from client.search.build import Built, CodeMaker, build, withdraw
from common.console import Terminal
from common.errors import ConfigError


def index_command(
    *,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The hospital's own site.yaml.")],
    model: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="An exported model; codes are made by it.", show_default=False)
    ] = None,
    withdraw_study: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Take a study out, and keep it out; repeat it for several.")
    ] = None,
    withdraw_patient: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Take a patient's studies out, and keep them out.")
    ] = None,
    as_object: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Make a hospital's index for searching, or bring it up to date.

    What is new or changed is encoded, and what is gone goes.

    It can be killed at any time and goes on where it was. Nothing leaves. With --withdraw-study or --withdraw-patient
    it only takes out what they name, at once; they stay out whatever the folder holds.

    Exits with 0 when it is done,
    2 where the studies cannot be read, or another process writes the index,
    4 where the index is not what was written, or a key cannot be used.
    """
    site = load_site_config(config)
    if withdraw_study or withdraw_patient:
        if model is not None:
            raise ConfigError("--model: is not needed to withdraw; first withdraw, then index")
        built = withdraw(site, studies=withdraw_study or (), patients=withdraw_patient or ())
    elif model is None:
        raise ConfigError("--model: has no value; give the FOLDER of an exported model")
    else:
        with _bar(site) as tell:
            built = build(site, _loaded(model), tell=tell)
    if as_object:
        typer.echo(json.dumps(_as_json(built), indent=2, allow_nan=False))
    else:
        if model is None and not built.num_gone:
            typer.echo("Nothing that was named is in the index: look for a slip. What was named stays out from now on")
        for line in _lines(built):
            Terminal().print(line, soft_wrap=True)


def _loaded(folder: Path) -> CodeMaker:
    """The model in a folder."""
    from common.model import load_model  # here: help, errors of options and withdrawing do without torch

    return load_model(folder)


@contextmanager
def _bar(site: SiteConfig) -> Iterator[Callable[[int], None]]:
    """Lend what shows on a terminal how many rows of the folder were read; elsewhere nothing is shown."""
    console = Terminal(stderr=True)
    columns = (TextColumn("Indexing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        num_rows = sum(1 for _ in study_folder(site.data).records()) if console.is_terminal else None
        task = bar.add_task("", total=num_rows)
        yield lambda num_read: bar.update(task, completed=num_read)


def _lines(built: Built) -> Iterator[str]:
    yield (
        f"In the index: {built.num_studies:,} studies, {built.num_images:,} images; {built.num_encoded:,} encoded now, "
        f"{built.num_gone:,} taken out, {built.num_kept_out:,} of the folder kept out as withdrawn"
    )
    if built.num_left_out:
        yield (
            f"Left out: {built.num_left_out:,} rows that cannot be read or lack report or image; "
            "wardround site check lists them"
        )
    yield f"Model: {built.head.model[:12]}, {built.head.bit_width} bits"
    yield f"Root: {built.head.root}"


def _as_json(built: Built) -> dict[str, object]:
    return {
        "site": built.head.site,
        "model": built.head.model,
        "bit_width": built.head.bit_width,
        "root": built.head.root,
        "studies": built.num_studies,
        "images": built.num_images,
        "encoded": built.num_encoded,
        "gone": built.num_gone,
        "kept_out": built.num_kept_out,
        "left_out": built.num_left_out,
    }
