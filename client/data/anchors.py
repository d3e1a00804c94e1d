"""The public anchors of a folder, encoded as a run takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from client.data.anchor_folder import AnchorFolder
from client.data.features import CachedEncoder, in_batches
from client.data.identity import anchors_digest, content_of
from common.encoders.public_fit import AnchorFeatures
from common.retrieval.relevance_pairs import Labels


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """The public studies of a run, encoded.

    Attributes:
        features: As the towers see them, sorted by patient.
        digest: What they are called in a run.
    """

    features: AnchorFeatures
    digest: str


@dataclass
class _Read:
    contents: list[tuple[str, str]] = field(default_factory=list)
    images: list[torch.Tensor] = field(default_factory=list)
    reports: list[torch.Tensor] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    findings: list[tuple[str, ...]] = field(default_factory=list)


def read_anchors(folder: AnchorFolder, encoder: CachedEncoder) -> Anchors:
    """Read and encode the public studies in a folder.

    Raises:
        ConfigError: The layout or the split is unknown.
        DataError: The folder cannot be read, or holds no public study.
    """
    read = _Read()
    for studies in in_batches(folder.studies()):
        contents = [content_of(study) for study in studies]
        read.contents += contents
        images, reports = zip(*contents, strict=True)
        read.images.append(encoder.image_features([study.image for study in studies], images))
        read.reports.append(encoder.report_features([study.record.report for study in studies], reports))
        read.patients += [study.record.patient_id for study in studies]
        read.findings += [study.record.findings for study in studies]
    labels = Labels.of(read.findings, [report for _, report in read.contents])
    return anchors_of(
        read.patients, torch.cat(read.images), torch.cat(read.reports), contents=read.contents, labels=labels
    )


def anchors_of(
    patients: Sequence[str],
    images: Tensor,
    reports: Tensor,
    *,
    contents: Iterable[tuple[str, str]],
    labels: Labels | None = None,
) -> Anchors:
    """Encoded public studies as a run takes them.

    Args:
        patients: Whose each study is, in the order of the folder.
        images: Image features `[N, ...]`.
        reports: Report features `[N, ...]`.
        contents: Digests of each study's image and report.
        labels: What makes one relevant to another; None where nobody asks for that.
    """
    order = sorted(range(len(patients)), key=patients.__getitem__)
    number = {name: position for position, name in enumerate(sorted(set(patients)))}
    numbers = torch.tensor([number[patients[row]] for row in order], dtype=torch.int64)
    features = AnchorFeatures(images[order], reports[order], numbers, None if labels is None else labels.rows(order))
    return Anchors(features=features, digest=anchors_digest(contents))
