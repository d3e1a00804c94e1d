"""`wardround mediator retrieval`: whether plans find more than words do, on MedPix 2.0."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from common.console import Terminal
from simulations.mediation.cases import KINDS, SPLITS, read_cases, split_of
from simulations.mediation.gain import gain_of
from simulations.mediation.retrieval import WAYS, Ranked, Sureness, coder_of, ranked, sureness


def retrieval_command(
    pack: Annotated[Path, typer.Argument(metavar="PACK", help="The folder of the medpix2 pack.")],
    *,
    splits: Annotated[
        int, typer.Option(min=1, max=len(SPLITS), help="How many of the five splits; about two minutes each.")
    ] = len(SPLITS),
    seed: Annotated[int, typer.Option(help="Draws the queries.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as one JSON object.")] = False,
) -> None:
    """Search the captions of MedPix 2.0 by words, by the plan's words, and by the whole plan, and compare.

    Queries are made of held-out cases by rule: plain ones, and such as negate, abbreviate or under-specify. Figures are
    means of the average precision over the queries of a kind, then over the splits; beside them, what the plan gains
    over the words, with an interval over cases, and whether the rank tells how sure a hit is. Exits with 0 whatever the
    figures are, 2 where there is no pack.
    """
    cases, embed, measured = read_cases(pack), _Embedder(), []
    for number in SPLITS[:splits]:
        public, test = split_of(pack, number)
        code = coder_of(cases, public, embed)
        of_test = ranked(cases, test, code, seed=seed)
        of_public = ranked(cases, public, code, seed=seed)
        measured.append((of_test, sureness(of_public.pairs(), of_test.pairs())))
    if as_json:
        typer.echo(json.dumps(_as_json(measured), indent=2, allow_nan=False))
    else:
        console = Terminal()
        console.print(_table(measured))
        for number, (_, sure) in enumerate(measured, start=1):
            console.print(f"Split {number}: {_in_words(sure)}", soft_wrap=True)


class _Embedder:
    """Features of texts by MiniLM; each text is encoded once."""

    def __init__(self) -> None:
        from common.encoders.pretrained import PretrainedEncoder, image_weights, report_folder

        self._encoder = PretrainedEncoder(
            image_weights=image_weights(), report_folder=report_folder(), embedding_dim=128
        )
        self._known: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= dict(zip(new, self._encoder.report_features(new).numpy(), strict=True))
        return np.stack([self._known[text] for text in texts])


def _means(measured: Sequence[tuple[Ranked, Sureness | None]]) -> dict[str, dict[str, Any]]:
    """Per kind: number of queries, the mean over splits of each way, what the plan gains, and each split's means."""
    found: dict[str, dict[str, Any]] = {}
    by_split = [of_test.precisions() for of_test, _ in measured]
    for kind in KINDS:
        gain = gain_of([of_test for of_test, _ in measured], kind)
        values = {way: [float(one[kind][way].mean()) for one in by_split if len(one[kind][way])] for way in WAYS}
        found[kind] = {
            "queries": sum(len(one[kind][WAYS[0]]) for one in by_split),
            **{way: float(np.mean(means)) if means else None for way, means in values.items()},
            "gain": gain and gain.as_json(),
            "by_split": values,
        }
    return found


def _as_json(measured: Sequence[tuple[Ranked, Sureness | None]]) -> dict[str, Any]:
    return {"map": _means(measured), "sureness": [sure and vars(sure) for _, sure in measured]}


def _table(measured: Sequence[tuple[Ranked, Sureness | None]]) -> Table:
    table = Table("queries", "number", *WAYS, "plan - words", "95% over cases", title="Mean average precision")
    for kind, row in _means(measured).items():
        means = ("-" if row[way] is None else f"{row[way]:.3f}" for way in WAYS)
        table.add_row(kind, str(row["queries"]), *means, *_gained(row["gain"]))
    return table


def _gained(gain: Mapping[str, float] | None) -> tuple[str, str]:
    if gain is None:
        return "-", "-"
    return f"{gain['difference']:+.3f}", f"{gain['low']:+.3f} to {gain['high']:+.3f} ({gain['cases']} cases)"


def _in_words(sure: Sureness | None) -> str:
    if sure is None:
        return "too few public hits to tell how sure a hit is."
    return (
        f"error {sure.error:.3f} over {sure.num_pairs:,} hits; the 90% set holds {100 * sure.coverage:.1f}% of the "
        f"relevant of {sure.num_patients} cases ({100 * sure.chance:.0f} points off is chance); of all pairs "
        f"{100 * sure.base_rate:.1f}% are relevant."
    )
