"""A realistic run of five hospitals, its rounds and its example pictures."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from server.report.render import Example, Retrieved

SITES = ("Harbour", "Northfield", "St. Brigid", "Lakeside", "University")
RECALLS = {"Harbour": 0.52, "Northfield": 0.61, "St. Brigid": 0.47, "Lakeside": 0.55, "University": 0.66}
START = 0.38
REPORTS = (
    "Portable chest radiograph. Right lower zone consolidation with a small effusion. Heart size is normal. "
    "No pneumothorax.",
    "Frontal chest. Clear lungs. The cardiac silhouette is enlarged. Mild upper lobe blood diversion.",
    "Left apical pneumothorax, 2 cm at the apex. No mediastinal shift. Clear right lung.",
    "Rounded opacity of 18 mm in the left mid zone. Comparison with earlier films is advised.",
    "Right basal consolidation, in keeping with pneumonia. Follow-up in six weeks to confirm clearing.",
    "No acute abnormality. Healed fracture of the left sixth rib.",
)


def metrics(recall: float) -> dict[str, float]:
    values = {
        "recall_at_1": recall * 0.4,
        "recall_at_5": recall * 0.8,
        "recall_at_10": recall,
        "mrr": recall * 0.55,
        "map": recall * 0.5,
    }
    return values | {f"text_to_image_{name}": 0.96 * value for name, value in values.items()}


def intervals(recall: float, half: float = 0.05) -> dict[str, list[float]]:
    return {name: [value - half * value, value + half * value] for name, value in metrics(recall).items()}


def site(name: str) -> dict[str, Any]:
    recall = RECALLS[name]
    drops = {"St. Brigid": {"nan": 2, "late": 1}}.get(name, {})
    return {
        "epsilon": 7.712 + 0.02 * len(name),
        "delta": 1e-5,
        "noise_multiplier": 1.62,
        "ledger_head": "ab" * 32,
        "patients_band": "128-255" if name == "University" else "64-127",
        "rounds_joined": 12 - sum(drops.values()),
        "drops": drops,
        "reputation": {
            "rounds_asked": 12,
            "rounds_admitted": 12 - sum(drops.values()),
            "rounds_dropped": sum(drops.values()),
            "dropped_share": sum(drops.values()) / 12,
            "mean_weight": 0.14 if name == "St. Brigid" else 0.2,
            "equal_share": 0.2,
            "lowest_weight": 0.1,
        },
        "num_bad_rows": 2 if name == "Harbour" else 0,
        "measured": True,
        "metrics": metrics(recall),
        "intervals": intervals(recall, 0.12),
        "codes": metrics(recall * 0.93),
        "code_intervals": intervals(recall * 0.93, 0.12),
        "start_metrics": {"recall_at_10": START + 0.1 * (name == "St. Brigid")},
        "gallery": 84,
        "chance_recall_at_10": 10 / 84,
        "private": False,
    }


RULES = ("mean", "median", "krum", "caf", "arc+nnm+trimmed_mean")
ATTACKS = ("alie", "ipm", "sign_flip", "nan", "model_replacement", "backdoor", "stale")
KEPT = {
    "mean": (0.82, 0.61, 0.35, 1.0, 0.04, 0.93, 0.99),
    "median": (0.78, 0.86, 0.92, 0.97, 0.95, 0.94, 0.96),
    "krum": (0.64, 0.71, 0.7, 0.72, 0.69, 0.7, 0.71),
    "caf": (0.95, 0.97, 0.99, 1.02, 0.98, 0.96, 0.99),
    "arc+nnm+trimmed_mean": (0.97, 0.98, 1.0, 1.0, 0.99, 0.98, 0.98),
}
"""Share of the reference that each rule keeps under each attack by two of ten hospitals, without privacy."""


def robustness() -> dict[str, Any]:
    """The summary's grid: five rules, seven attacks, one and two attackers, with and without privacy."""
    references = {None: 0.4, 8.0: 0.3}
    cells = []
    for epsilon, reference in references.items():
        for number in (0, 1, 2):
            for rule in RULES:
                tried = (("none", 1.0 if rule == "mean" else 0.98), *zip(ATTACKS, KEPT[rule], strict=True))
                for attack, full in tried if number else tried[:1]:
                    kept = full if number == 2 else min(1.0, full + 0.15)
                    kept = kept if epsilon is None or attack == "none" else 0.97 * kept
                    cells.append(
                        {
                            "epsilon": epsilon,
                            "num_byzantine": number,
                            "rule": rule,
                            "attack": attack,
                            "refusal": None,
                            "recall_at_10": kept * reference,
                            "codes_recall_at_10": 0.9 * kept * reference,
                            "kept": kept,
                            "backdoor_success": (0.96 if rule == "mean" else 0.07) if attack == "backdoor" else None,
                            "backdoor_control": 0.05 if attack == "backdoor" else None,
                            "rounds_updated": 6,
                            "attacker_drops": {"nan": 6 * number} if attack == "nan" else {},
                            "attacker_weight": 0.1 if attack not in {"none", "nan"} else None,
                            "seconds": 1.6,
                        }
                    )
    return {
        "num_sites": 10,
        "repeats": 3,
        "start": {"recall_at_10": 0.26, "codes_recall_at_10": 0.23},
        "chance_recall_at_10": 0.02,
        "references": [
            {"epsilon": epsilon, "recall_at_10": found, "codes_recall_at_10": 0.9 * found}
            for epsilon, found in references.items()
        ],
        "cells": cells,
    }


def groups() -> list[dict[str, Any]]:
    shifts = {
        "sex": {"F": -0.04, "M": 0.03},
        "age_band": {"18-39": -0.02, "40-59": 0.04, "60-79": -0.09},
    }
    rows = []
    for name in SITES:
        for attribute, by_group in shifts.items():
            for group, shift in by_group.items():
                suppressed = (name, group) in {("Harbour", "18-39"), ("Lakeside", "18-39")}
                recall = RECALLS[name] + shift
                rows.append(
                    {
                        "site": name,
                        "attribute": attribute,
                        "group": group,
                        "suppressed": suppressed,
                        "num_patients": None if suppressed else 24 + len(group),
                        "metrics": None if suppressed else metrics(recall),
                        "intervals": None if suppressed else intervals(recall, 0.2),
                    }
                )
    return rows


def build_summary() -> dict[str, Any]:
    """`summary.json` of a completed simulation with privacy, in which one hospital was dropped thrice."""
    return {
        "schema_version": 1,
        "status": "completed",
        "reason": None,
        "config_digest": "1f" * 32,
        "model_digest": "9c" * 32,
        "started_at": "2026-07-09T14:05:11Z",
        "engine": "inprocess",
        "rounds_completed": 12,
        "rounds_planned": 12,
        "seconds": 214.2,
        "timings": {
            "prepare_seconds": 21.0,
            "public_fit_seconds": 18.4,
            "rounds_seconds": 160.9,
            "evaluation_seconds": 13.9,
        },
        "versions": {"wardround": "0.1.0", "torch": "2.13.0", "flwr": "1.41.0", "python": "3.11.13"},
        "data": {
            "adapter": "manifest",
            "num_studies": 2050,
            "num_public_studies": 512,
            "num_bad_rows": 2,
            "remarks": ["The table is written with commas between fields, UTF-8."],
            "left_out": [{"site": "Hamlet", "patients_band": "1-10"}],
            "bad_rows": [
                {"file": "manifest.csv", "row": 118, "reason": "the image file is missing"},
                {"file": "manifest.csv", "row": 904, "reason": "the report is empty"},
            ],
            "anchors_digest": "5e" * 32,
        },
        "model": {
            "encoder": "efficientnet_lite0 + MiniLM",
            "trainable": "heads",
            "num_trainable_parameters": 106_496,
            "embedding_dim": 64,
            "bit_width": 64,
            "loss": "anchor_contrast",
            "aggregator": "trimmed_mean",
        },
        "privacy": {
            "unit_of_privacy": "patient",
            "neighboring_relation": "add_or_remove_one",
            "target_epsilon": 8.0,
            "delta": 1e-5,
            "clip_norm": 0.5,
            "sampling_probability": 0.3,
            "noise_multiplier": None,
        },
        "sites": {name: site(name) for name in SITES},
        "groups": groups(),
        "published": None,
        "difference": None,
        "fairness": {
            "sex": {"worst_group": {"site": "St. Brigid", "group": "F", "recall_at_10": 0.43}, "gap": 0.26},
            "age_band": {
                "worst_group": {"site": "St. Brigid", "group": "60-79", "recall_at_10": 0.38},
                "gap": 0.32,
            },
        },
        "pooled": {
            **metrics(0.412),
            "intervals": intervals(0.412, 0.07),
            "codes": metrics(0.381),
            "code_intervals": intervals(0.381, 0.07),
            "gallery": 420,
            "chance_recall_at_10": 10 / 420,
            "start": metrics(0.264),
            "findings": {
                "queries": 390,
                "embedding": {"map": 0.617, "map_at_10": 0.402, "ndcg_at_10": 0.583},
                "codes": {"map": 0.588, "map_at_10": 0.379, "ndcg_at_10": 0.551},
            },
            "certificate": {
                "deviation": 0.4,
                "num_votes": 1000,
                "alpha": 0.001,
                "queries": 100,
                "recall_at_10": 0.36,
                "radii": [{"radius": 0.2, "recall_at_10": 0.21, "most_flips": 17.3, "most_flips_bit_by_bit": 28.9}],
                "sensitivity": {"radius": 0.2, "mean": 40.0, "largest": 75.0},
            },
            "attacked": {
                "epsilon": 8.0,
                "steps": 20,
                "queries": 100,
                "attacks": [
                    {"name": "none", "map": 0.3, "map_findings": 0.54, "flips": 0.0, "moved": 0.0, "ssim": 1.0},
                    {"name": "hag", "map": 0.137, "map_findings": 0.51, "flips": 40.4, "moved": 0.91, "ssim": 0.873},
                ],
            },
            "bits": {"balance": 0.874, "correlation": 0.112, "entropy": 0.957},
        },
        "baselines": {
            name: {
                "recall_at_10": [mean + offset for offset in (-0.012, 0.004, 0.009, -0.003, 0.002)],
                "codes_recall_at_10": [mean - 0.02 + offset for offset in (-0.01, 0.01, 0.0, 0.0, 0.0)],
            }
            for name, mean in {
                "public_only": 0.264,
                "site_alone": 0.231,
                "federated": 0.446,
                "federated_epsilon_8": 0.412,
                "federated_epsilon_2": 0.334,
                "centralised": 0.451,
                "centralised_in_batch": 0.439,
            }.items()
        },
        "not_private": ["$.sites[*].metrics", "$.sites[*].codes", "$.groups", "$.fairness", "$.pooled", "$.baselines"],
    }


def build_rounds() -> list[dict[str, Any]]:
    """`rounds.jsonl` of the same run."""
    lines = []
    for number in range(1, 13):
        dropped = {"St. Brigid": "late" if number == 9 else "nan"} if number in {3, 4, 9} else {}
        reached = {name: START + (RECALLS[name] - START) * (1 - math.exp(-number / 3.5)) for name in SITES}
        lines.append(
            {
                "round": number,
                "seconds": 13.1,
                "asked": list(SITES),
                "admitted": [name for name in SITES if name not in dropped],
                "dropped": dropped,
                "update_norm": 0.4,
                "weights": {name: 1 / (len(SITES) - len(dropped)) for name in SITES if name not in dropped},
                "epsilon": dict.fromkeys(SITES, 0.66 * number),
                "metrics": {
                    name: None if name in dropped else {"recall_at_10": value, "codes_recall_at_10": 0.93 * value}
                    for name, value in reached.items()
                },
            }
        )
    return lines


def phantom(seed: int) -> bytes:
    """A picture with the look of a chest radiograph, as PNG."""
    generator = np.random.default_rng(seed)
    picture = Image.new("L", (192, 192), 28)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((22, 20, 170, 210), fill=150)
    for left in (36, 104):
        draw.ellipse((left, 40, left + 52, 160), fill=52)
    draw.ellipse((78, 98, 124, 160), fill=185)
    x, y = generator.integers(44, 140), generator.integers(60, 140)
    draw.ellipse((x, y, x + 18, y + 18), fill=170)
    noise = Image.fromarray(generator.integers(0, 40, (192, 192), dtype=np.uint8))
    file = io.BytesIO()
    Image.blend(picture.filter(ImageFilter.GaussianBlur(5)), noise, 0.12).save(file, "PNG")
    return file.getvalue()


def build_examples() -> list[Example]:
    """Two queries with five answers each."""
    return [
        Example(
            query_image=phantom(query),
            query_report=REPORTS[query],
            query_site=SITES[query],
            results=tuple(
                Retrieved(
                    report=REPORTS[(query + rank) % 6],
                    site=SITES[rank],
                    relevant=rank == 2 * query + 1,
                    similarity=0.83 - 0.05 * rank,
                    image=phantom(10 * query + rank),
                )
                for rank in range(5)
            ),
        )
        for query in range(2)
    ]


@pytest.fixture
def summary() -> dict[str, Any]:
    return build_summary()


@pytest.fixture
def grid_summary() -> dict[str, Any]:
    """The summary of `--scenario robustness`."""
    summary = build_summary() | {"baselines": None, "robustness": robustness()}
    return summary | {"not_private": [*summary["not_private"], "$.robustness"]}


@pytest.fixture
def rounds() -> list[dict[str, Any]]:
    return build_rounds()


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    return build_examples()
