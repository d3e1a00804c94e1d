"""What the types of the schema cannot say: the range of each number and the choices of each word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.config.registry import near
from common.errors import AdmissionError, ConfigError
from common.privacy.bands import middle_of

RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "workers": (1, 64),
    "data.merged_sites": (0, 1000),
    "data.public_fraction": (0.01, 0.9),
    "data.test_fraction": (0.01, 0.9),
    "data.max_bad_fraction": (0, 1),
    "data.least_patients": (1, 10**6),
    "data.pixel_bits": (0, 16),
    "data.synthetic.seed": (0, 2**63 - 1),
    "data.synthetic.num_sites": (1, 1000),
    "data.synthetic.patients_per_site": (4, 10**6),
    "data.synthetic.public_patients": (4, 10**6),
    "data.synthetic.image_size": (32, 1024),
    "data.synthetic.site_shift": (0, 1),
    "data.synthetic.unpaired": (0, 0.95),
    "encoder.embedding_dim": (2, 4096),
    "encoder.image_size": (16, 1024),
    "encoder.patch_size": (2, 256),
    "encoder.width": (8, 4096),
    "encoder.image_depth": (1, 48),
    "encoder.report_depth": (1, 48),
    "encoder.num_heads": (1, 64),
    "encoder.max_tokens": (8, 4096),
    "encoder.vocabulary": (64, 10**6),
    "encoder.trainable_blocks": (0, 48),
    "encoder.lora_rank": (1, 1024),
    "code.bit_width": (48, 256),
    "code.weight": (0, 100),
    "code.num_centres": (2, 255),
    "loss.temperature": (1e-3, 10),
    "loss.num_anchors": (1, 10**6),
    "loss.agreement_weight": (0, 100),
    "loss.negative_clip": (1e-3, 100),
    "loss.weights.distillation": (0, 100),
    "loss.weights.margin": (0, 100),
    "loss.weights.quantisation": (0, 100),
    "loss.weights.centres": (0, 100),
    "loss.weights.balance": (0, 100),
    "loss.weights.decorrelation": (0, 100),
    "loss.weights.score_level": (0, 100),
    "loss.weights.invariance": (0, 100),
    "loss.weights.unpaired": (0, 100),
    "public_fit.validation_fraction": (0, 0.5),
    "public_fit.steps": (0, 10**6),
    "public_fit.batch_size": (2, 10**6),
    "public_fit.learning_rate": (1e-8, 10),
    "training.steps_per_round": (0, 10**6),
    "training.sampling_probability": (1e-6, 1),
    "training.learning_rate": (1e-8, 100),
    "training.chunk_size": (1, 10**5),
    "training.augmentations": (1, 64),
    "training.proximal_weight": (0, 1000),
    "training.adversarial.steps": (0, 100),
    "training.adversarial.pixels": (0, 64),
    "training.adversarial.features": (0, 1),
    "training.adversarial.words": (0, 0.9),
    "privacy.epsilon": (1e-3, 1000),
    "privacy.delta": (1e-12, 0.1),
    "privacy.clip_norm": (1e-6, 1e6),
    "privacy.learning_rate": (1e-8, 100),
    "privacy.public_weight": (0, 100),
    "privacy.most_colluding": (1, 1000),
    "privacy.pair_factor": (1, 3),
    "policy.epsilon": (0, 1000),
    "aggregator.num_byzantine": (0, 500),
    "server_optimizer.learning_rate": (1e-6, 100),
    "server_optimizer.momentum": (0, 0.999),
    "server_optimizer.second_momentum": (0, 0.9999),
    "server_optimizer.adaptivity": (1e-12, 1),
    "federation.rounds": (0, 10**6),
    "federation.quorum": (0.01, 1),
    "federation.deadline_seconds": (0.01, 10**6),
    "federation.patience_hours": (0, 1000),
    "federation.max_update_norm": (1e-6, 1e9),
    "attack.num_sites": (0, 1000),
    "evaluation.epsilon": (1e-3, 20),  # beyond it the noise would be too fine for its sampler (mechanisms.py)
    "evaluation.num_bootstrap": (10, 10**5),
    "evaluation.least_group": (11, 10**6),
    "fairness.epsilon": (1e-2, 20),
    "fairness.delta": (1e-12, 0.1),
    "fairness.max_gap": (0, 1),
    "fairness.min_group_recall": (0, 1),
    "mitigation.site_power": (0, 10),
    "mitigation.adversary_weight": (0, 100),
    "certificate.deviation": (1e-6, 100),
    "certificate.num_votes": (8, 10**6),
    "certificate.alpha": (1e-9, 0.5),
    "certificate.num_queries": (1, 10**6),
    "baselines.repeats": (0, 100),
    "robustness.repeats": (1, 100),
    "remedies.repeats": (1, 100),
}
"""Least and greatest value of each numeric key, both allowed."""

CHOICES: dict[str, tuple[str, ...]] = {
    "data.synthetic.planted": ("scanner", "marker", "phrases"),
    "data.same_patients": ("exact", "folded"),
    "encoder.words": ("all", "public"),
    "encoder.tone": ("recorded", "equalised"),
    "encoder.trainable": ("all", "heads", "lora"),
    "training.optimizer": ("sgd", "adam"),
    "training.precision": ("float32", "bfloat16"),
    "training.gradients": ("auto", "vmap", "linear", "ghost"),
    "privacy.clipping": ("flat", "per_layer"),
    "privacy.noise": ("own", "shared"),
    "mitigation.attribute": ("sex", "age_band", "race", "scanner"),
    "mitigation.emphasis_by": ("sampling", "weight"),
}
"""Words that are not the names of a registry; of a list, each word."""


RANGES_OF_EACH: dict[str, tuple[float, float]] = {
    "mitigation.emphasis": (0.01, 1),
    "mitigation.shares": (0, 1),
    "mitigation.site_recall": (0, 1),
}
"""Least and greatest value of each number in a table of them by name, both allowed."""


def check_ranges(config: Mapping[str, Any]) -> None:
    """Check every number and word of a configuration.

    Raises:
        ConfigError: The first value out of its range.
    """
    for key, value in _leaves(config):
        in_range = RANGES.get(key) or _range_of_each(key)
        if in_range is not None and value is not None:
            low, high = in_range
            if not low <= value <= high:
                raise ConfigError(f"{key}={value}: out of range; give a value from {low:g} to {high:g}")
        for word in value if isinstance(value, list) else [value]:
            if key in CHOICES and word not in CHOICES[key]:
                raise ConfigError(f"{key}={word}: unknown; {near(str(word), list(CHOICES[key]))}")
    for site, band in config["privacy"]["cohort"].items():
        check_band(band, f"privacy.cohort.{site}:")
    _check_together(config)


def _check_together(config: Mapping[str, Any]) -> None:
    """Check what no key says alone."""
    if config["code"]["bit_width"] % 8:
        raise ConfigError(f"code.bit_width={config['code']['bit_width']}: must be a multiple of 8")
    if config["code"]["num_centres"] >= config["code"]["bit_width"]:
        raise ConfigError(
            f"code.num_centres={config['code']['num_centres']}: must be below code.bit_width, or centres coincide"
        )
    _check_widths(config["code"], config["evaluation"]["code_widths"])
    if config["mitigation"]["site_recall"] and config["privacy"]["noise"] == "shared":
        raise ConfigError(
            "mitigation.site_recall: noise that hospitals share cancels only where all of them count alike; set "
            "privacy.noise=own, or remove the figures"
        )
    if not config["certificate"]["radii"] or not all(0 < radius <= 100 for radius in config["certificate"]["radii"]):
        raise ConfigError("certificate.radii: give one size or more, each above 0 and at most 100, such as [0.5, 1.0]")
    if config["data"]["public_fraction"] + config["data"]["test_fraction"] >= 1:
        raise ConfigError("data.public_fraction and data.test_fraction leave no patients to train on; lower one")


def _check_widths(code: Mapping[str, Any], measured: Sequence[int]) -> None:
    """Check the widths of codes that are nested, and those that are measured: whole bytes of one code."""
    least, _ = RANGES["code.bit_width"]
    for key, widths in {"code.nested_widths": code["nested_widths"], "evaluation.code_widths": measured}.items():
        for width in widths:
            if width % 8 or not least <= width <= code["bit_width"]:
                raise ConfigError(
                    f"{key}: {width} is no width of the first bits of a code; give multiples of 8 from {least:g} to "
                    f"code.bit_width={code['bit_width']}"
                )
    if any(width <= code["num_centres"] for width in code["nested_widths"]):
        raise ConfigError("code.nested_widths: each must be above code.num_centres, or centres coincide")


def _range_of_each(key: str) -> tuple[float, float] | None:
    return next((found for table, found in RANGES_OF_EACH.items() if key.startswith(f"{table}.")), None)


def check_band(band: str, where: str) -> None:
    """Return where a text is a band of patients.

    Args:
        band: The text.
        where: What stands before it in the error: the option, the key, or the file and the site.

    Raises:
        ConfigError: It is not.
    """
    try:
        middle_of(band)
    except AdmissionError as error:
        raise ConfigError(f"{where} {band}: not a band; give those of site check, such as 64-127") from error


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
