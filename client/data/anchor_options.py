"""How a command is told which studies of a folder are the public ones."""

from __future__ import annotations

from typing import Annotated

import typer

Layout = Annotated[str, typer.Option(metavar="NAME", help="Layout of the folder.")]
SplitColumn = Annotated[
    str, typer.Option(metavar="NAME", help="Column of its splits.csv that says which studies are public.")
]
SiteColumn = Annotated[
    str, typer.Option(metavar="NAME", help='Without a split: column that holds "public" for a public study.')
]
