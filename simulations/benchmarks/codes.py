"""`wardround bench codes`: what 64 and 128 bits find, beside peers that were trained on the same features.

All are trained in one place without privacy, on all public and training studies of all hospitals, and measured on all
held-out studies: image to report, codes by Hamming distance, averaged exactly over ties.

| row | |
| --- | --- |
| embedding | the float bound: what this project's embedding finds before it is cut to bits |
| ours | this project's hash head, trained with its embedding by the run's loss |
| ours nested | the first bits of one nested code of 256 |
| random projection | random directions of the same embedding |
| ITQ | CCA-ITQ on the encoder's features |
| UCCH, DJSRH | their networks and losses on the encoder's features |

Settings of the peers are their papers'; nothing is chosen on the data at hand. `seconds` is the training.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from common.config.load import load_config
from common.config.schema import RunConfig
from common.console import Terminal
from common.device import CPU
from common.encoders.dual import DualEncoder, Embedded, embed_in_batches
from common.retrieval.evaluation import evaluate_retrieval
from common.seeds import torch_generator
from common.types import StudyRecord
from simulations.benchmarks.code_peers.djsrh import fit_djsrh
from simulations.benchmarks.code_peers.interface import Fit, Pairs
from simulations.benchmarks.code_peers.linear import fit_cca_itq, random_projection
from simulations.benchmarks.code_peers.ucch import fit_ucch
from simulations.benchmarks.report import Row
from simulations.display import TerminalWatcher
from simulations.measurement.by_findings import findings_metrics
from simulations.scenarios.simulate import Clock, prepare
from simulations.scenarios.trained import train
from simulations.studies.consortium import Consortium

BIT_WIDTHS = (64, 128)
NESTED = ("code.bit_width=256", "code.nested_widths=[48,64,96,128,192]")
CENTRAL = ("privacy.epsilon=null", "aggregator.name=mean", "aggregator.num_byzantine=0")
"""One place, without privacy: there is nobody to bear."""
PEERS: dict[str, Fit] = {"ITQ": fit_cca_itq, "UCCH": fit_ucch, "DJSRH": fit_djsrh}


def bench_codes(overrides: Sequence[str] = ()) -> list[Row]:
    """Rows with `bits`, `map`, `recall_at_10` (the image's own report) and `map_findings` (shared findings).

    Args:
        overrides: Keys of the config, as `key=value`; the default is the synthetic cohort.

    Raises:
        WardroundError: The config or the studies cannot be used.
    """
    rows = []
    for bit_width in BIT_WIDTHS:
        config = load_config([*overrides, *CENTRAL, f"code.bit_width={bit_width}"])
        rows += rows_of(config, *_trained(config))
    config = load_config([*overrides, *CENTRAL, *NESTED])
    return [*rows, *nested_rows(*_trained(config))]


def _trained(config: RunConfig) -> tuple[Consortium, DualEncoder, float]:
    """The studies, a model trained on all of them, and how long that took."""
    with TerminalWatcher(Terminal(stderr=True), rounds=config.federation.rounds) as watcher:
        clock = Clock(watcher)
        started = time.monotonic()
        consortium, start = prepare(config, clock)
        model = centralised(config, consortium, start, clock)
    return consortium, model, time.monotonic() - started - clock.seconds["prepare_seconds"]


def centralised(config: RunConfig, consortium: Consortium, start: DualEncoder, clock: Clock) -> DualEncoder:
    """A model that was trained on all sites' studies in one place.

    Raises:
        CheckFailed: No round changed it.
    """
    with tempfile.TemporaryDirectory() as folder:
        cut = {"centre": list(consortium.sites)}
        done = train(
            config, consortium, copy.deepcopy(start), cut=cut, folder=Path(folder) / "centre", observer=clock.watcher
        )
    if done.problem is not None:
        raise done.problem
    return done.model


def rows_of(config: RunConfig, consortium: Consortium, model: DualEncoder, seconds: float) -> list[Row]:
    """The rows of one bit width, beside a model that took so long to train."""
    bits = config.code.bit_width
    held_out = consortium.held_out(consortium.sites)
    image, report = embed_in_batches(model.to(CPU), held_out.images, held_out.reports)

    def row(name: str, image_code: Tensor, report_code: Tensor, took: float) -> Row:
        coded = Embedded(image.embedding, image_code), Embedded(report.embedding, report_code)
        return Row(
            name=f"{name} {bits}", seconds=took, figures={"bits": bits, **_found(*coded, held_out.records, "codes")}
        )

    bound = {"bits": None, **_found(image, report, held_out.records, "embedding")}
    project = random_projection(image.embedding.shape[1], bits, generator=_generator(config, "random projection"))
    rows = [
        Row(name=f"embedding beside {bits}", seconds=seconds, figures=bound),
        row("ours", image.code, report.code, seconds),
        row("random projection", project(image.embedding), project(report.embedding), 0.0),
    ]
    training = _training_pairs(consortium)
    for name, fit in PEERS.items():
        begun = time.monotonic()
        of_image, of_report = fit(training, bits, _generator(config, name))
        took = time.monotonic() - begun
        rows.append(row(name, of_image(_flat(held_out.images[:])), of_report(_flat(held_out.reports[:])), took))
    return rows


def nested_rows(consortium: Consortium, model: DualEncoder, seconds: float) -> list[Row]:
    """What the first bits of a nested code find, of one model that took so long to train."""
    held_out = consortium.held_out(consortium.sites)
    image, report = embed_in_batches(model.to(CPU), held_out.images, held_out.reports)
    return [
        Row(
            name=f"ours nested {bits}",
            seconds=seconds,
            figures={"bits": bits, **_found(image.prefix(bits), report.prefix(bits), held_out.records, "codes")},
        )
        for bits in BIT_WIDTHS
    ]


def _found(image: Embedded, report: Embedded, records: Sequence[StudyRecord], kind: str) -> dict[str, float | None]:
    """What embeddings or codes find, image to report: their own, and any that shares a finding."""
    way = evaluate_retrieval(image, report, records).image_to_text
    values = way.embedding if kind == "embedding" else way.code
    by_findings = findings_metrics(image, report, records)
    return {
        "map": float(values["map"].mean()),
        "recall_at_10": float(values["recall_at_10"].mean()),
        "map_findings": by_findings[kind]["map"] if by_findings else None,
    }


def _training_pairs(consortium: Consortium) -> Pairs:
    """All public and training studies, one image each, as the encoder's frozen part sees them."""
    public, private = consortium.public(), consortium.private_with_first_images(consortium.sites)
    return Pairs(
        torch.cat([_flat(public.images), _flat(private.images)]),
        torch.cat([_flat(public.reports), _flat(private.reports)]),
    )


def _flat(features: Tensor) -> Tensor:
    return features.flatten(1).to(CPU, torch.float32)


def _generator(config: RunConfig, name: str) -> torch.Generator:
    return torch_generator(config.seed, "bench codes", name)
