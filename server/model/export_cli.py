"""`wardround model export`: the model of a run as a folder that anybody can load."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from common.console import Terminal
from common.errors import CheckFailed
from common.retrieval.paired import Published
from server.model.ended_run import read_ended_run
from server.model.export import LICENCE, Exported, export_model


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run that has ended.")],
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The model's folder, a new one.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write both towers as ONNX graphs too; extra onnx.")] = False,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Under which you give the model.")] = LICENCE,
    as_object: Annotated[bool, typer.Option("--json", help="Print digest and card as one JSON object.")] = False,
) -> None:
    """Take the model that a run stands for out of its folder: weights, config, card, and the signature of the run.

    Nothing of a site that the run did not release goes along, and no path of this machine.

    Exits with 0 where it is the final model, also where nobody can tell whether that helped: the card says so,
    1 where the run stands for its public start, which is then what was written, or where the run has not ended or has
    failed, and nothing was written,
    2 where RUN is not the folder of one run, or FOLDER is there already,
    4 where something that is signed does not hold.
    """
    exported = export_model(read_ended_run(run), out, licence=licence, graphs=onnx)
    if as_object:
        typer.echo(json.dumps({**asdict(exported), "folder": str(out)}, indent=2))
    else:
        _show(exported)
    if exported.card["published"] == Published.START:
        raise CheckFailed(f"{out}: holds the public start, which the run stands for; MODEL_CARD.md says why")


def _show(exported: Exported) -> None:
    console = Terminal()
    for line in (exported.card["why"], f"Model: {exported.digest}", f"Folder: {exported.folder}"):
        console.print(line, soft_wrap=True)
