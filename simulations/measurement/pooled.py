"""What only a simulation can measure: retrieval over one gallery of all sites, and example answers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from client.site import HeldOut
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, embed_in_batches
from common.fairness.intervals import patient_bootstrap
from common.retrieval.evaluation import TEXT_TO_IMAGE, Direction, distinct_reports, evaluate_retrieval
from common.retrieval.index import EmbeddingIndex
from common.retrieval.paired import Estimate
from common.seeds import numpy_generator
from common.types import Image
from server.report.render import Example, Retrieved
from simulations.measurement.by_findings import bits_used, findings_metrics
from simulations.studies.consortium import Consortium

NUM_EXAMPLES = 4
NUM_RESULTS = 5
PICTURE_SIDE = 160


def pooled_metrics(model: DualEncoder, held_out: HeldOut, config: RunConfig) -> dict[str, Any]:
    """Every metric over all sites' held-out studies together, with intervals: the summary's `pooled`, less `start`."""
    embedded = embed_in_batches(model, held_out.images, held_out.reports)
    found = evaluate_retrieval(*embedded, held_out.records)
    patients = np.array([record.patient_id for record in held_out.records])
    ways = {"": found.image_to_text, TEXT_TO_IMAGE: found.text_to_image}

    def interval(way: Direction, values: NDArray[np.float64]) -> list[float]:
        drawn = patient_bootstrap(
            values,
            patients[way.queries],
            generator=numpy_generator(config.seed, "bootstrap", "pooled"),
            num_resamples=config.evaluation.num_bootstrap,
        )
        return [drawn.low, drawn.high]

    def each(part: str, of: Any) -> dict[str, Any]:  # noqa: ANN401 - a mean or an interval
        return {
            prefix + name: of(way, values)
            for prefix, way in ways.items()
            for name, values in getattr(way, part).items()
        }

    def mean(way: Direction, values: NDArray[np.float64]) -> float:  # noqa: ARG001 - as `interval`
        return float(values.mean())

    return {
        **each("embedding", mean),
        "intervals": each("embedding", interval),
        "codes": each("code", mean),
        "code_intervals": each("code", interval),
        "findings": findings_metrics(*embedded, held_out.records),
        "bits": bits_used(*embedded),
        "gallery": found.gallery,
        "chance_recall_at_10": found.chance_recall_at_10,
    }


def first_ten(model: DualEncoder, held_out: HeldOut) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Whether each image finds its report among the first ten of the pooled gallery, and whose the image is."""
    way = evaluate_retrieval(
        *embed_in_batches(model, held_out.images, held_out.reports), held_out.records
    ).image_to_text
    patients = np.array([record.patient_id for record in held_out.records])
    return way.embedding["recall_at_10"], patients[way.queries]


def gain(
    start_Q: NDArray[np.float64], final_Q: NDArray[np.float64], patients_Q: NDArray[np.str_], config: RunConfig
) -> Estimate:
    """How much more the final model finds, the same images by both: exact, with an interval over patients."""
    change_Q = final_Q - start_Q
    interval = patient_bootstrap(
        change_Q,
        patients_Q,
        generator=numpy_generator(config.seed, "bootstrap", "gain"),
        num_resamples=config.evaluation.num_bootstrap,
    )
    return Estimate(value=float(change_Q.mean()), interval=interval)


def examples(model: DualEncoder, consortium: Consortium, sites: Sequence[str], config: RunConfig) -> list[Example]:
    """A few held-out images and the reports that they found, drawn from the seed, not chosen by their luck."""
    rows = consortium.held_out_rows(sites)
    held_out = consortium.held_out(sites)
    image, report = embed_in_batches(model, held_out.images, held_out.reports)
    gallery, relevant_NR = distinct_reports(held_out.records)
    pictured = [i for i, row in enumerate(rows) if row in consortium.pictures]
    generator = numpy_generator(config.seed, "examples")
    chosen = generator.permutation(pictured)[:NUM_EXAMPLES]
    hits = EmbeddingIndex(report.embedding.cpu().numpy()[gallery]).search(
        image.embedding.cpu().numpy()[chosen], k=NUM_RESULTS
    )

    def picture(position: int) -> bytes:
        return _png(consortium.pictures[rows[position]]) if rows[position] in consortium.pictures else b""

    found = []
    for query, ids, scores in zip(chosen, hits.ids_QK, hits.scores_QK, strict=True):
        record = held_out.records[query]
        results = tuple(
            Retrieved(
                report=held_out.records[gallery[i]].report,
                site=held_out.records[gallery[i]].site or "",
                relevant=bool(relevant_NR[query, i]),
                similarity=float(score),
                image=picture(int(gallery[i])),
            )
            for i, score in zip(ids, scores, strict=True)
        )
        found.append(Example(picture(int(query)), record.report, record.site or "", results))
    return found


def _png(image: Image) -> bytes:
    picture = PillowImage.fromarray(image)
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
