"""What a site measures on its held-out patients: retrieval both ways, by embedding and by code, by group.

Not private: sums over patients without noise. A release of these statistics says so, and only a policy that guards
no real patient lets it pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.measurement.scores import Scores, scored_by
from client.site import Site
from common.encoders.dual import embed_in_batches
from common.fairness.groups import AGE_BANDS, ATTRIBUTES, group_of
from common.fairness.intervals import patient_bootstrap
from common.fairness.statistics import EVERYONE, SiteStatistics, site_statistics
from common.retrieval.evaluation import TEXT_TO_IMAGE, Direction, Retrieval, Values, evaluate_retrieval
from common.retrieval.paired import Estimate, rate_of
from common.seeds import numpy_generator
from common.wire.update import NamedArrays, load_into

SHOWN = "recall_at_10"
"""The metric that groups are compared by, and rounds."""
START = f"start_{SHOWN}"

LISTED_GROUPS = {"sex": ("F", "M"), "age_band": AGE_BANDS}
"""Groups that everyone knows to exist; a hidden scanner or race is not even named."""


def is_measurable(site: Site) -> bool:
    """Whether a site has so many held-out patients that its figures may stand alone."""
    patients = {record.patient_id for record in site.held_out.records}
    return len(patients) >= site.config.evaluation.least_group


def brief_statistics(site: Site, arrays: NamedArrays) -> dict[str, Any]:
    """Recall at 10, image to text, of all and of each group large enough to be shown: for the learning curves."""
    return {"brief": _brief(site, _retrieval(site, arrays))}


def full_statistics(site: Site, arrays: NamedArrays) -> dict[str, Any]:
    """Every metric with its interval, and every group that is large enough to be shown.

    All and each group are told beside what the model that the run began with finds of the same images: `difference`. Of
    the groups of `fairness.scores` it tells the figures of scores, too (`common/fairness/scores.py`).
    """
    start, retrieval = _retrieval(site, site.start), _retrieval(site, arrays)
    scores = scored_by(site, arrays) if site.config.fairness.scores else None
    interval = _interval_of(site)
    metrics, codes = _both(retrieval, lambda way: way.embedding), _both(retrieval, lambda way: way.code)
    return {
        "brief": _brief(site, retrieval),
        "metrics": _means(metrics),
        "intervals": {name: interval(way, values) for name, (way, values) in metrics.items()},
        "codes": _means(codes),
        "code_intervals": {name: interval(way, values) for name, (way, values) in codes.items()},
        "difference": _difference(start.image_to_text, retrieval.image_to_text, interval),
        "groups": _groups(site, start.image_to_text, retrieval.image_to_text, scores, interval),
        "gallery": retrieval.gallery,
        "chance_recall_at_10": retrieval.chance_recall_at_10,
    }


_Interval = Callable[[Direction, NDArray[np.float64]], list[float]]


def _retrieval(site: Site, arrays: NamedArrays) -> Retrieval:
    load_into(site.model, arrays)
    held_out = site.held_out
    return evaluate_retrieval(*embed_in_batches(site.model, held_out.images, held_out.reports), held_out.records)


def _brief(site: Site, retrieval: Retrieval) -> dict[str, Any]:
    way = retrieval.image_to_text
    return {
        "recall_at_10": float(way.embedding[SHOWN].mean()),
        "codes_recall_at_10": float(way.code[SHOWN].mean()),
        "groups": {
            attribute: {name: found.mean(SHOWN) for name, found in sorted(by_name.items())}
            for attribute, by_name in _shown(site, way).groups.items()
            if attribute != EVERYONE and by_name
        },
    }


def _both(
    retrieval: Retrieval, values_of: Callable[[Direction], Values]
) -> dict[str, tuple[Direction, NDArray[np.float64]]]:
    ways = {"": retrieval.image_to_text, TEXT_TO_IMAGE: retrieval.text_to_image}
    return {prefix + name: (way, values) for prefix, way in ways.items() for name, values in values_of(way).items()}


def _means(found: Mapping[str, tuple[Direction, NDArray[np.float64]]]) -> dict[str, float]:
    return {name: float(values.mean()) for name, (_, values) in found.items()}


def _interval_of(site: Site) -> _Interval:
    patients = np.array([record.patient_id for record in site.held_out.records])

    def interval(way: Direction, values: NDArray[np.float64], chosen: Sequence[int] | None = None) -> list[float]:
        rows = np.arange(len(values)) if chosen is None else np.asarray(chosen)
        found = patient_bootstrap(
            values[rows],
            patients[way.queries[rows]],
            generator=numpy_generator(site.config.seed, "bootstrap", site.name),
            num_resamples=site.config.evaluation.num_bootstrap,
        )
        return [found.low, found.high]

    return interval


def _shown(site: Site, way: Direction) -> SiteStatistics:
    """The groups that are large enough to be shown, and whose numbers give no other away."""
    records = site.held_out.records
    everything = site_statistics(
        way.embedding,
        patients=[record.patient_id for record in records],
        groups=[group_of(record) for record in records],
    )
    return everything.suppress(least_patients=site.config.evaluation.least_group)


def _groups(
    site: Site, start: Direction, way: Direction, scores: Scores | None, interval: Callable[..., list[float]]
) -> list[dict[str, Any]]:
    """Shown groups with their numbers, and the listed groups that are hidden or empty: which, is not told."""
    groups = [group_of(record) for record in site.held_out.records]
    shown = _shown(site, way).groups
    rows: list[dict[str, Any]] = []
    for attribute in ATTRIBUTES:
        by_name = shown.get(attribute, {})
        for name, found in sorted(by_name.items()):
            members = [query for query, group in enumerate(groups) if group.get(attribute) == name]
            before, num = start.embedding[SHOWN], found.num_patients
            of_scores = _figures_of_scores(site, scores, attribute, members)
            rows.append(
                {
                    "attribute": attribute,
                    "group": name,
                    "suppressed": False,
                    "num_patients": num,
                    "metrics": {
                        **{metric: found.mean(metric) for metric in way.embedding},
                        START: float(before[members].mean()),
                        **{figure: one.value for figure, one in of_scores.items()},
                    },
                    "intervals": {
                        **{
                            name: _of_rate(interval, way, values, members, num)
                            for name, values in way.embedding.items()
                        },
                        START: _of_rate(interval, start, before, members, num),
                        **{figure: [one.interval.low, one.interval.high] for figure, one in of_scores.items()},
                    },
                    "difference": _difference(start, way, interval, members),
                }
            )
        rows += [
            {"attribute": attribute, "group": name, "suppressed": True}
            | dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))
            for name in LISTED_GROUPS.get(attribute, ())
            if name not in by_name
        ]
    return rows


def _of_rate(
    interval: Callable[..., list[float]],
    way: Direction,
    values: NDArray[np.float64],
    members: Sequence[int],
    num_patients: int,
) -> list[float]:
    """Of a group's rate: Wilson's interval where all resamples are alike, as where none of its reports is found.

    No length would say that nobody else of the group will be found either, and name it as surely served worse.
    """
    low, high = interval(way, values, members)
    if low < high:
        return [low, high]
    ends = rate_of(low, num_patients=num_patients, noise=(0.0, 0.0, 0.0), variance=0.0).interval
    return [ends.low, ends.high]


def _figures_of_scores(
    site: Site, scores: Scores | None, attribute: str, members: Sequence[int]
) -> Mapping[str, Estimate]:
    """Of a group's pairs; none where its attribute is not among those whose scores are told."""
    if scores is None or attribute not in site.config.fairness.scores:
        return {}
    patients = np.array([record.patient_id for record in site.held_out.records])
    found = scores.of(members, patients=patients)
    return found.figures() if found.speak else {}


def _difference(
    start: Direction, final: Direction, interval: Callable[..., list[float]], members: Sequence[int] | None = None
) -> dict[str, float]:
    """How much more the final model finds, the same images by both, with an interval over patients."""
    change = final.embedding[SHOWN] - start.embedding[SHOWN]
    low, high = interval(final, change, members)
    return {SHOWN: float(change[members].mean() if members is not None else change.mean()), "low": low, "high": high}
