"""The summary of a run, from what the server knows: its state, and what the caller measured beside it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from common.config.schema import RunConfig
from common.privacy.cross_check import spent_by
from common.privacy.events import NEIGHBORING_RELATION, UNIT_OF_PRIVACY
from common.privacy.forecast import Forecast
from common.privacy.plan import PrivacyPlan, pair_law, privacy_plan
from common.retrieval.paired import Estimate
from common.wire.update import arrays_digest
from server.checkpoint import RunState, SiteHistory
from server.public_watch import VALUES
from server.report.consortium import consortium, decision
from server.report.fairness.release_gate import release
from server.report.fairness.site_differences import site_differences
from server.report.fairness.told_groups import told_groups
from server.report.reputation import reputation

ONLY_SIMULATED = ["$.pooled", "$.baselines", "$.baseline_groups", "$.robustness", "$.remedies", "$.data.bad_rows"]
"""What only a simulation can know: it is exact whatever the sites tell."""

NOT_PRIVATE = [
    "$.sites[*].metrics",
    "$.sites[*].intervals",
    "$.sites[*].codes",
    "$.sites[*].code_intervals",
    "$.sites[*].start_metrics",
    "$.sites[*].difference",
    "$.sites[*].alone",
    "$.groups",
    "$.fairness",
    "$.difference",
    "$.published",
    "$.release",
    *ONLY_SIMULATED,
]
"""Paths of figures without noise where the sites tell theirs exactly."""

OF_EXACT_UPDATES = ["$.sites[*].reputation.mean_weight", "$.sites[*].reputation.lowest_weight"]
"""Paths of figures that follow from the updates: without noise where these are."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the state does not hold.

    Attributes:
        started_at: ISO 8601, UTC.
        engine: What called the sites: "inprocess", "ray" or "deployment".
        problem: Why the run failed, or None.
        seconds: Whole run.
        timings: Seconds by phase.
        data: The summary's `data` object; None outside a simulation, which alone sees the studies.
        num_trained: Trained values.
        pooled: The summary's `pooled` object; None outside a simulation.
        forecast: What was foretold before a patient was touched; None where nothing was.
        difference: What the run gained over its start where that is known exactly: in a simulation that tells exact
            figures. Elsewhere it is found from what the sites told with noise.
    """

    started_at: str
    engine: str
    problem: str | None
    seconds: float
    timings: Mapping[str, float]
    data: Mapping[str, Any] | None
    num_trained: int
    pooled: Mapping[str, Any] | None
    difference: Estimate | None = None
    forecast: Forecast | None = None


def build_summary(config: RunConfig, state: RunState, facts: RunFacts) -> dict[str, Any]:
    """The keys of `summary.schema.json`.

    Raises:
        AccountingError: Two accountants differ on what a site spent; then no epsilon is reported.
    """
    plans = {name: privacy_plan(config, history.patients_band) for name, history in state.sites.items()}
    differences = site_differences(config, state)
    sites = {name: _site(config, state, name, plans[name]) | {"difference": differences[name]} for name in state.sites}
    private = [plan for plan in plans.values() if plan is not None]
    told = consortium(config, state)
    if facts.difference is not None:
        told |= decision(facts.difference)
    summary = {
        "schema_version": 1,
        "status": "failed" if facts.problem else "completed",
        "reason": facts.problem,
        "config_digest": state.config_digest,
        "model_digest": arrays_digest(state.arrays["model"]),
        "started_at": facts.started_at,
        "engine": facts.engine,
        "rounds_completed": state.rounds_completed,
        "rounds_planned": config.federation.rounds,
        "seconds": facts.seconds,
        "timings": dict(facts.timings),
        "versions": {
            **{package: version(package) for package in ("wardround", "torch", "flwr")},
            "python": platform.python_version(),
        },
        "data": dict(facts.data) if facts.data is not None else None,
        "model": _model(config, facts.num_trained),
        "privacy": {
            "unit_of_privacy": UNIT_OF_PRIVACY,
            "neighboring_relation": NEIGHBORING_RELATION,
            "target_epsilon": config.privacy.epsilon,
            "delta": _common(plan.delta for plan in private),
            "clip_norm": config.privacy.clip_norm if private else None,
            "sampling_probability": config.training.sampling_probability,
            "most_colluding": config.privacy.most_colluding if pair_law(config) is not None else None,
            "noise_multiplier": _common(plan.event.noise_multiplier or None for plan in private),
        },
        "sites": sites,
        "least_group": config.evaluation.least_group,
        **told_groups(config, state),
        **told,
        "forecast": facts.forecast.as_json() if facts.forecast is not None else None,
        "public_validation": _public_validation(state),
        "pooled": dict(facts.pooled) if facts.pooled is not None else None,
        "not_private": [
            *(NOT_PRIVATE if config.evaluation.epsilon is None else ONLY_SIMULATED),
            *(OF_EXACT_UPDATES if config.privacy.epsilon is None else []),
        ],
    }
    return summary | release(config, summary)


def _site(config: RunConfig, state: RunState, name: str, privacy: PrivacyPlan | None) -> dict[str, Any]:
    latest, history = state.latest.get(name, {}), state.sites[name]
    spent = spent_by([privacy.event] * history.rounds_asked, delta=privacy.delta) if privacy else None
    return {
        "epsilon": spent.epsilon if spent else None,
        "epsilon_replace_one": spent.epsilon_replace_one if spent else None,
        "epsilon_alone": privacy.epsilon_alone_after(history.rounds_asked) if privacy else None,
        "delta": privacy.delta if privacy else None,
        "noise_multiplier": (privacy.event.noise_multiplier or None) if privacy else None,
        "ledger_head": history.ledger_head,
        "patients_band": history.patients_band,
        "rounds_joined": history.rounds_joined,
        "drops": history.drops,
        "reputation": reputation(name, state.rounds),
        "rests": _rests(history),
        **{key: latest.get(key) for key in ("metrics", "intervals", "codes", "code_intervals", "gallery")},
        "measured": bool(latest.get("metrics")),
        "chance_recall_at_10": latest.get("chance_recall_at_10"),
        "start_metrics": state.start.get(name, {}).get("metrics") or latest.get("start_metrics"),
        "private": config.evaluation.epsilon is not None,
        "statistics_epsilon": config.evaluation.epsilon,
    }


def _rests(history: SiteHistory) -> dict[str, Any] | None:
    if history.rests_from is None:
        return None
    return {"low_rounds": history.low_rounds, "from_round": history.rests_from}


def _public_validation(state: RunState) -> dict[str, Any] | None:
    """What the server saw on public studies; None where it did not look."""
    judged = [record for record in state.rounds if record.get("validation")]
    if state.watched.start is None:
        return None
    last = judged[-1]["validation"] if judged else None
    best = float(state.arrays["best"][VALUES].mean())
    return {
        "start": state.watched.start,
        "final": best if last is None or last["stepped_back"] else last["value"],
        "best_round": state.watched.best_round,
        "step": state.watched.step,
        "stepped_back": [record["round"] for record in judged if record["validation"]["stepped_back"]],
    }


def _common(values: Iterable[float | None]) -> float | None:
    """The value that all sites share; None where they differ, or where there is none."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _model(config: RunConfig, num_trained: int) -> dict[str, Any]:
    return {
        "encoder": config.encoder.name,
        "trainable": config.encoder.trainable,
        "num_trainable_parameters": num_trained,
        "embedding_dim": config.encoder.embedding_dim,
        "bit_width": config.code.bit_width,
        "loss": config.loss.name,
        "aggregator": config.aggregator.name,
    }
