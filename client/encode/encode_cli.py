"""`wardround encode`: a folder of images, or a table of texts, into codes and ids."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from client.encode.items import Coded, code_images, code_texts
from client.encode.items import Progress as Done
from common.console import Terminal
from common.errors import CheckFailed, ConfigError
from common.files import write_atomically
from common.model import Model, load_model

SUFFIX = ".npz"


def encode_command(
    *,
    model: Annotated[Path, typer.Option(metavar="FOLDER", help="A model, as wardround model export wrote it.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Every file below it: pictures, and DICOM instances (.dcm).")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table with columns study_id and report, as a manifest.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE.npz", help="Codes, ids, and the model's digest.")],
    as_object: Annotated[bool, typer.Option("--json", help="Print counts and what is bad as one JSON object.")] = False,
) -> None:
    """Turn a folder of images, or a table of texts, into codes.

    The file holds codes (packed, one row each), ids (paths below DIR, or study_id), model and bit_width, and is read by
    numpy.load. It is written whole or not at all. Nothing is sent anywhere.

    Exits with 0 where everything was encoded,
    1 where something could not be: it is listed with its reason, and the file holds the rest,
    2 where nothing could be encoded, or model, images or texts are not there,
    4 where the model is damaged.
    """
    if (images is None) == (texts is None):
        raise ConfigError("give one of --images DIR and --texts FILE")
    if out.suffix != SUFFIX:
        raise ConfigError(f"--out {out}: codes are written as {SUFFIX}; name the file so")
    loaded = load_model(model)
    with _progress() as progress:
        if images is not None:
            coded = code_images(loaded, images, progress=progress)
        elif texts is not None:
            coded = code_texts(loaded, texts, progress=progress)
    write_atomically(out, written(coded, loaded))
    _tell(coded, loaded, out, as_object=as_object)
    if coded.bad:
        raise CheckFailed(f"{len(coded.bad)} could not be encoded, and {out} holds the other {len(coded.ids)}")


def written(coded: Coded, model: Model) -> bytes:
    """The file of some codes; the same codes give the same bytes."""
    buffer = io.BytesIO()
    np.savez(
        buffer, codes=coded.codes, ids=coded.ids, model=np.array(model.digest), bit_width=np.array(model.bit_width)
    )
    return buffer.getvalue()


def _tell(coded: Coded, model: Model, out: Path, *, as_object: bool) -> None:
    if as_object:
        said = {"encoded": len(coded.ids), "bad": [asdict(row) for row in coded.bad], "model": model.digest}
        typer.echo(json.dumps({**said, "bit_width": model.bit_width, "out": str(out)}, indent=2))
        return
    errors = Terminal(stderr=True)
    for row in coded.bad:
        where = f"{row.file}, line {row.row}" if row.row else row.file
        errors.print(f"{where}: {row.reason}", soft_wrap=True)
    Terminal().print(f"{len(coded.ids)} codes of {model.bit_width} bits: {out}", soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Done]:
    """Show on a terminal how far the encoding is."""
    console = Terminal(stderr=True)
    columns = (TextColumn("Encoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
