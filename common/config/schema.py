"""Structured schema of a run's configuration: every key, its type and its range (OmegaConf structured configs).

`configs/base.yaml` gives each key its value and says what it means; nothing here has a default, so that a value
is written once. `RANGES` holds what a type cannot say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MISSING: Any = "???"
"""OmegaConf's mark of a value that is not given, written here so that a model loads where OmegaConf is not."""


@dataclass
class SyntheticConfig:
    """The synthetic cohort (`data.adapter=synthetic`)."""

    seed: int = MISSING
    num_sites: int = MISSING
    patients_per_site: int = MISSING
    public_patients: int = MISSING
    image_size: int = MISSING
    site_shift: float = MISSING
    confounder: bool = MISSING
    unpaired: float = MISSING
    planted: list[str] = MISSING


@dataclass
class DataConfig:
    """Which studies, and how they are cut into public anchors, private training patients and held-out patients."""

    adapter: str = MISSING
    root: str = MISSING
    split: str = MISSING
    site_column: str = MISSING
    merged_sites: int = MISSING
    public_fraction: float = MISSING
    test_fraction: float = MISSING
    max_bad_fraction: float = MISSING
    allow_burned_in: bool = MISSING
    least_patients: int = MISSING
    pixel_bits: int = MISSING
    same_patients: str = MISSING
    synthetic: SyntheticConfig = MISSING


@dataclass
class EncoderConfig:
    """The image-report encoder."""

    name: str = MISSING
    embedding_dim: int = MISSING
    tone: str = MISSING
    words: str = MISSING
    trainable: str = MISSING
    lora_rank: int = MISSING
    image_size: int = MISSING
    patch_size: int = MISSING
    width: int = MISSING
    image_depth: int = MISSING
    report_depth: int = MISSING
    num_heads: int = MISSING
    max_tokens: int = MISSING
    vocabulary: int = MISSING
    image_path: str = MISSING
    report_path: str = MISSING
    trainable_blocks: int = MISSING
    cache: str = MISSING


@dataclass
class CodeConfig:
    """The hash head: codes of `bit_width` bits beside the float embedding."""

    bit_width: int = MISSING
    nested_widths: list[int] = MISSING
    weight: float = MISSING
    num_centres: int = MISSING


@dataclass
class TermWeights:
    """Weight of each term that `loss.name` may name."""

    distillation: float = MISSING
    margin: float = MISSING
    quantisation: float = MISSING
    centres: float = MISSING
    balance: float = MISSING
    decorrelation: float = MISSING
    score_level: float = MISSING
    invariance: float = MISSING
    unpaired: float = MISSING


@dataclass
class LossConfig:
    """The contrastive loss, and the terms beside it."""

    name: str = MISSING
    temperature: float = MISSING
    num_anchors: int = MISSING
    agreement_weight: float = MISSING
    negative_clip: float = MISSING
    weights: TermWeights = MISSING


@dataclass
class PublicFitConfig:
    """The fit on the public anchors that gives the federation its first model; no patient is touched."""

    validation_fraction: float = MISSING
    steps: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING


@dataclass
class AdversarialConfig:
    """How far each study is changed against its own code before it is learnt from."""

    steps: int = MISSING
    pixels: float = MISSING
    features: float = MISSING
    words: float = MISSING


@dataclass
class TrainingConfig:
    """Local training at a site."""

    steps_per_round: int = MISSING
    sampling_probability: float = MISSING
    learning_rate: float = MISSING
    optimizer: str = MISSING
    chunk_size: int = MISSING
    augmentations: int = MISSING
    precision: str = MISSING
    gradients: str = MISSING
    proximal_weight: float = MISSING
    adversarial: AdversarialConfig = MISSING


@dataclass
class PrivacyConfig:
    """Patient-level differential privacy; `epsilon: null` trains without it."""

    epsilon: float | None = MISSING
    delta: float | None = MISSING
    clip_norm: float = MISSING
    clipping: str = MISSING
    learning_rate: float = MISSING
    public_weight: float = MISSING
    calibrate: bool = MISSING
    noise: str = MISSING
    most_colluding: int = MISSING
    pair_factor: int = MISSING
    cohort: dict[str, str] = MISSING


@dataclass
class PolicyConfig:
    """What every site's own policy allows (simulation only; a real site has a policy file)."""

    epsilon: float | None = MISSING
    refuse_hopeless: bool = MISSING


@dataclass
class AggregatorConfig:
    """The rule that turns the admitted updates into one."""

    name: str = MISSING
    num_byzantine: int = MISSING


@dataclass
class ServerOptimizerConfig:
    """How the server applies the aggregated update."""

    name: str = MISSING
    learning_rate: float = MISSING
    momentum: float = MISSING
    second_momentum: float = MISSING
    adaptivity: float = MISSING


@dataclass
class FederationConfig:
    """Rounds, quorum and deadline."""

    rounds: int = MISSING
    quorum: float = MISSING
    deadline_seconds: float = MISSING
    patience_hours: float = MISSING
    max_update_norm: float = MISSING


@dataclass
class AttackConfig:
    """What the last `num_sites` sites do wrong (simulation only)."""

    name: str = MISSING
    num_sites: int = MISSING


@dataclass
class EvaluationConfig:
    """Retrieval on held-out patients."""

    epsilon: float | None = MISSING
    num_bootstrap: int = MISSING
    least_group: int = MISSING
    code_widths: list[int] = MISSING


@dataclass
class FairnessConfig:
    """Figures by group of held-out patients, released with noise, and what the model must hold to be published.

    `epsilon: null` releases none.
    """

    epsilon: float | None = MISSING
    delta: float = MISSING
    attributes: list[str] = MISSING
    intersections: list[str] = MISSING
    scores: list[str] = MISSING
    ranks: list[str] = MISSING
    races: list[str] = MISSING
    scanners: list[str] = MISSING
    languages: list[str] = MISSING
    max_gap: float | None = MISSING
    min_group_recall: float | None = MISSING
    no_site_worse: bool = MISSING
    accept_cannot_tell: bool = MISSING


@dataclass
class MitigationConfig:
    """Against a group, or a hospital, that is served worse; every part of it is off unless a config turns it on."""

    attribute: str = MISSING
    emphasis: dict[str, float] = MISSING
    emphasis_by: str = MISSING
    shares: dict[str, float] = MISSING
    site_power: float = MISSING
    adversary_weight: float = MISSING
    site_recall: dict[str, float] = MISSING


@dataclass
class CertificateConfig:
    """Smoothed codes and their certificate (simulation only); `deviation: null` measures none."""

    deviation: float | None = MISSING
    num_votes: int = MISSING
    alpha: float = MISSING
    radii: list[float] = MISSING
    num_queries: int = MISSING


@dataclass
class BaselinesConfig:
    """What `--scenario baselines` compares: nothing when `repeats` is empty."""

    repeats: int = MISSING
    splits: list[str] = MISSING


@dataclass
class RobustnessConfig:
    """The grid of `--scenario robustness`: nothing when `rules` is empty."""

    repeats: int = MISSING
    rules: list[str] = MISSING
    attacks: list[str] = MISSING
    num_byzantine: list[int] = MISSING
    epsilons: list[float | None] = MISSING


@dataclass
class RemediesConfig:
    """What `--scenario fairness` compares: nothing when `names` is empty."""

    repeats: int = MISSING
    names: list[str] = MISSING
    epsilons: list[float | None] = MISSING
    group: str = MISSING


@dataclass
class RunConfig:
    """A run."""

    seed: int = MISSING
    device: str = MISSING
    workers: int = MISSING
    data: DataConfig = MISSING
    encoder: EncoderConfig = MISSING
    code: CodeConfig = MISSING
    loss: LossConfig = MISSING
    public_fit: PublicFitConfig = MISSING
    training: TrainingConfig = MISSING
    privacy: PrivacyConfig = MISSING
    policy: PolicyConfig = MISSING
    aggregator: AggregatorConfig = MISSING
    server_optimizer: ServerOptimizerConfig = MISSING
    federation: FederationConfig = MISSING
    attack: AttackConfig = MISSING
    evaluation: EvaluationConfig = MISSING
    fairness: FairnessConfig = MISSING
    mitigation: MitigationConfig = MISSING
    certificate: CertificateConfig = MISSING
    baselines: BaselinesConfig = MISSING
    robustness: RobustnessConfig = MISSING
    remedies: RemediesConfig = MISSING
