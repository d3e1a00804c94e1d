"""`wardround bench attacks`: what codes still find when images and reports are changed to mislead them.

The scratch encoder, all of it trained on the public studies and then on all studies in one place, sees pixels. PGD of
20 steps, no pixel by more than 8 of 255, none outside the body; `moved` is the share of the body's pixels that moved,
`ssim` the structural similarity that is left. What `map` and the other figures are stands in
`simulations/measurement/victim.py`. `dhta` and `reports, towards` are targeted, all others not. In the gray box the
attacker has the towers and another hash head, of another seed. Reports have one word in ten left out, misspelt or
exchanged for a synonym. `training.adversarial.steps=2` beside the default shows what adversarial training is worth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from common.config.load import load_config
from common.config.schema import RunConfig
from common.console import Terminal
from common.encoders.dual import DualEncoder
from common.encoders.registry import ENCODERS
from common.hashing.head import HashHead
from common.seeds import torch_generator
from simulations.adversarial.interface import CODE_ATTACKS, Goal, signs
from simulations.adversarial.report_substitution import substituted
from simulations.benchmarks.codes import CENTRAL, centralised
from simulations.benchmarks.report import Row
from simulations.display import TerminalWatcher
from simulations.measurement.victim import Victim
from simulations.scenarios.simulate import Clock, prepare
from simulations.studies.consortium import Consortium

SHARE_OF_WORDS = 0.1
PIXELS = ("encoder.name=scratch", "encoder.trainable=all")
MOST_QUERIES = 300


def bench_attacks(overrides: Sequence[str] = ()) -> list[Row]:
    """Rows with `map`, `map_findings`, `map_wanted`, `map_images`, `flips`, `moved` and `ssim`.

    Args:
        overrides: Keys of the config, as `key=value`.

    Raises:
        WardroundError: The config or the studies cannot be used.
    """
    config = load_config([*overrides, *CENTRAL, *PIXELS])
    with TerminalWatcher(Terminal(stderr=True), rounds=config.federation.rounds) as watcher:
        clock = Clock(watcher)
        consortium, start = prepare(config, clock)
        model = centralised(config, consortium, start, clock)
    return rows_of(config, consortium, model)


def rows_of(config: RunConfig, consortium: Consortium, model: DualEncoder) -> list[Row]:
    """The rows of a trained model that sees pixels."""
    victim = Victim.of(consortium.held_out(consortium.sites), model, most_queries=MOST_QUERIES)
    return [*_image_rows(config, victim), *_report_rows(config, victim)]


def _image_rows(config: RunConfig, victim: Victim) -> list[Row]:
    other = HashHead(
        embedding_dim=config.encoder.embedding_dim,
        bit_width=config.code.bit_width,
        num_centres=config.code.num_centres,
        generator=torch_generator(config.seed, "bench attacks", "another head"),
    ).requires_grad_(requires_grad=False)
    rows = [Row(name="unattacked", seconds=0.0, figures=victim.found_by(victim.pixels))]
    for name in CODE_ATTACKS.names:
        for box, head in {"": victim.model.hash_head, ", gray box": other}.items():
            generator = torch_generator(config.seed, "bench attacks", name)
            begun = time.monotonic()
            changed = victim.attacked(CODE_ATTACKS.load(name), head=head, generator=generator)
            rows.append(Row(name=name + box, seconds=time.monotonic() - begun, figures=victim.found_by(changed)))
    return rows


def _report_rows(config: RunConfig, victim: Victim) -> list[Row]:
    """Reports away from their own codes, and towards those of the images that share a finding with another one."""
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)

    def outputs_of(texts: Sequence[str]) -> Tensor:
        return victim.report_outputs(encoder.report_features(texts))

    own_RK = signs(victim.report_outputs(victim.reports))
    wanted_RB = torch.from_numpy(victim.wanted.T).float()
    wanted_RK = signs(wanted_RB @ signs(victim.outputs(victim.pixels)))
    rows = [Row(name="reports, unattacked", seconds=0.0, figures=victim.found_by_reports(victim.reports))]
    for name, goal in {"reports": Goal(own_RK, -1), "reports, towards": Goal(wanted_RK, 1)}.items():
        begun = time.monotonic()
        changed = encoder.report_features(_substituted(outputs_of, victim.texts, goal))
        rows.append(Row(name=name, seconds=time.monotonic() - begun, figures=victim.found_by_reports(changed)))
    return rows


def _substituted(outputs_of: Callable[[list[str]], Tensor], texts: Sequence[str], goal: Goal) -> list[str]:
    return [
        substituted(outputs_of, text, Goal(code_K[None], goal.towards), share=SHARE_OF_WORDS)
        for text, code_K in zip(texts, goal.code_BK, strict=True)
    ]
