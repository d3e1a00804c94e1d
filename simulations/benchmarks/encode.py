"""`wardround bench encode`: studies encoded by the pretrained encoder, beside the same networks as they are published.

The peer takes all images at once, through EfficientNet-Lite0 with its batch norms apart, and all reports at once, each
padded to the longest. Both sides get the same pictures and reports, take turns in one process and use all cores that it
may.
Reading and decoding are not part of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from common.config.load import load_config
from common.encoders.efficientnet_lite import load_as_published
from common.encoders.hub_backbone import load_report_backbone
from common.encoders.pretrained import MAX_TOKENS, build, image_weights, report_folder, scaled_images
from common.seeds import numpy_generator
from common.service.cores import usable_cores
from common.types import Image
from simulations.benchmarks.report import Row

NUM_STUDIES = 64
NUM_REPEATS = 5
IMAGE_SIZE = 512
MEDIAN_WORDS, SPREAD = 45, 0.9
"""Of a report: log-normal, as findings and impression of a department are; the longest reach the encoder's limit."""
VOCABULARY = (
    "the a of in no is are with without left right lower upper lobe lung pleural effusion pneumothorax cardiac"
    " silhouette enlarged normal mild moderate opacity consolidation atelectasis unchanged compared prior examination"
    " findings impression vertebral fracture mass nodule measuring centimetres contrast sagittal axial enhancement"
)
PEER = "as published"

Encode = Callable[[], Tensor]


def bench_encode() -> list[Row]:
    """Seconds a study: images, reports, and both.

    Raises:
        ConfigError: The packages with the weights are not installed.
    """
    torch.set_num_threads(usable_cores())
    here, peer = encoders(pictures(NUM_STUDIES), reports(NUM_STUDIES))
    times = {what: timed_in_turn([here[what], peer[what]]) for what in here}
    times["study"] = [sum(side) for side in zip(*times.values(), strict=True)]
    return [
        Row(name=what, seconds=seconds / NUM_STUDIES, peer=PEER, peer_seconds=peer_seconds / NUM_STUDIES)
        for what, (seconds, peer_seconds) in times.items()
    ]


def encoders(images: Sequence[Image], texts: Sequence[str]) -> tuple[dict[str, Encode], dict[str, Encode]]:
    """What encodes the images and the texts: ours, and the peer's."""
    encoder = build(load_config(["encoder.name=pretrained"]).encoder)
    network = load_as_published(image_weights())
    backbone = load_report_backbone(report_folder(), field="encoder", max_tokens=MAX_TOKENS)

    @torch.no_grad()
    def published_images() -> Tensor:
        features: Tensor = network(scaled_images(images))
        return features

    return (
        {"image": lambda: encoder.image_features(images), "report": lambda: encoder.report_features(texts)},
        {"image": published_images, "report": lambda: backbone.hidden_states(texts).mean()},
    )


def pictures(number: int) -> list[Image]:
    """Grey noise, `[512, 512]`: no network takes longer for one picture than for another."""
    generator = numpy_generator(0, "bench encode", "pictures")
    return [generator.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE), np.uint8) for _ in range(number)]


def reports(number: int) -> list[str]:
    """Texts of many lengths, without sense."""
    generator = numpy_generator(0, "bench encode", "reports")
    lengths = np.maximum(1, MEDIAN_WORDS * np.exp(SPREAD * generator.standard_normal(number))).astype(int)
    return [" ".join(generator.choice(VOCABULARY.split(), length)) for length in lengths]


def timed_in_turn(sides: Sequence[Encode]) -> list[float]:
    """Median seconds of each, taken in turn: the speed of a shared machine changes by the minute."""
    seconds: list[list[float]] = [[] for _ in sides]
    for turn in range(NUM_REPEATS + 1):
        for side, taken in zip(sides, seconds, strict=True):
            start = time.perf_counter()
            side()
            if turn > 0:  # the first loads weights and warms caches
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]
