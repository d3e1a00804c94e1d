"""`wardround bench unpaired`: what a consortium keeps whose hospitals lack reports, with them to learn from or not.

Half of the reports of every second hospital are missing. All rows are measured on the same held-out studies, those of
the cohort whose reports are all there, and start from the same first model.

| row | trains on |
| --- | --- |
| start | nobody: the model fitted to the public anchors |
| paired | all reports: the bound |
| pairs alone | the studies that have both halves |
| unpaired | these, and those that lack their report (`loss.name=...+unpaired`) |

`kept` is a row's recall at 10 over that of `paired`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.config.load import load_config
from common.config.schema import RunConfig
from common.console import Terminal
from common.encoders.dual import DualEncoder
from common.losses.composition import UNPAIRED, with_term, without_term
from simulations.benchmarks.report import Row
from simulations.display import TerminalWatcher
from simulations.federation.members import each_its_own, in_cohort
from simulations.scenarios.simulate import Clock, calibrated, pooled_of, prepare
from simulations.scenarios.trained import train
from simulations.studies.consortium import Consortium

MISSING = 0.5
"""Share of the reports that are missing at every second hospital."""


def bench_unpaired(overrides: Sequence[str] = ()) -> list[Row]:
    """Rows with `recall_at_10` and `codes_recall_at_10` (image to report and back, one gallery), and what they keep.

    Args:
        overrides: Keys of the config, as `key=value`.

    Raises:
        WardroundError: The config or the studies cannot be used.
    """
    base = load_config(["data.synthetic.unpaired=0", *overrides])
    alone = replace(base, loss=replace(base.loss, name=without_term(base.loss, UNPAIRED)))
    lone = replace(base, loss=replace(base.loss, name=with_term(base.loss, UNPAIRED)))
    lacking = replace(base.data, synthetic=replace(base.data.synthetic, unpaired=MISSING))
    with TerminalWatcher(Terminal(stderr=True), rounds=base.federation.rounds) as watcher:
        clock = Clock(watcher)
        whole, start = prepare(alone, clock)
        lacks, _ = prepare(replace(lone, data=lacking), clock)
        found = {"start": (pooled_of(start, whole, alone), 0.0)}
        for name, config, studies in (
            ("paired", alone, whole),
            ("pairs alone", replace(alone, data=lacking), lacks),
            ("unpaired", replace(lone, data=lacking), lacks),
        ):
            began = time.monotonic()
            model = _trained(config, studies.trained_by(config.loss), start, clock)
            found[name] = pooled_of(model, whole, alone), time.monotonic() - began
    bound = found["paired"][0]["recall_at_10"]
    return [_row(name, pooled, bound, seconds) for name, (pooled, seconds) in found.items()]


def _trained(config: RunConfig, studies: Consortium, start: DualEncoder, clock: Clock) -> DualEncoder:
    with tempfile.TemporaryDirectory() as folder:
        config = in_cohort(config, studies, each_its_own(studies))
        if config.privacy.calibrate:
            config = calibrated(config, studies, start, Path(folder), clock)
        cut = each_its_own(studies)
        done = train(config, studies, start, cut=cut, folder=Path(folder) / "run", observer=clock.watcher)
    if done.problem is not None:
        raise done.problem
    return done.model


def _row(name: str, pooled: dict[str, Any], bound: float, seconds: float) -> Row:
    recall = pooled["recall_at_10"]
    figures = {"recall_at_10": recall, "codes_recall_at_10": pooled["codes"]["recall_at_10"], "kept": recall / bound}
    return Row(name=name, seconds=seconds, figures=figures)
