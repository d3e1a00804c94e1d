"""Retrieval over a set of studies, on a case small enough to rank by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from common.encoders.dual import Embedded
from common.errors import ConfigError
from common.retrieval.evaluation import distinct_reports, evaluate_retrieval
from common.types import StudyRecord

RECORDS = [
    StudyRecord("s0", "anna", "normal chest"),
    StudyRecord("s1", "anna", "left effusion"),
    StudyRecord("s2", "bert", "normal chest"),
    StudyRecord("s3", "carl", "large nodule"),
    StudyRecord("s4", "dora", "small nodule", split_group="carl"),
]
"""Two patients share a text, and two patients share a split group."""


def at(*degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def coded(embedding: Tensor, *ones: int) -> Embedded:
    """The first `ones[i]` of 48 bits of study i are set."""
    code = torch.full((len(ones), 48), -0.5)
    for row, number in enumerate(ones):
        code[row, :number] = 0.5
    return Embedded(embedding, code)


IMAGES = coded(at(0, 10, 20, 90, 80), 0, 10, 20, 40, 30)
REPORTS = coded(at(70, 12, 777, 95, 100), 24, 10, 48, 40, 41)
"""The gallery of reports: normal chest at 70 degrees, effusion at 12, large nodule at 95, small nodule at 100."""


def test_distinct_reports_keep_the_first_study_of_each_text() -> None:
    chosen, relevant = distinct_reports(RECORDS)
    assert chosen.tolist() == [0, 1, 3, 4]
    assert relevant.tolist() == [
        [True, True, False, False],  # anna has both texts
        [True, True, False, False],
        [True, False, False, False],  # bert shares the normal one
        [False, False, True, True],  # carl and dora are one split group
        [False, False, True, True],
    ]


def test_image_to_text_by_hand() -> None:
    """First relevant report of each image: rank 1, 1, 2, 1 by angle; dora's image is nearest to the normal report."""
    found = evaluate_retrieval(IMAGES, REPORTS, RECORDS)
    way = found.image_to_text
    assert found.gallery == 4
    assert way.queries.tolist() == [0, 1, 2, 3, 4]
    assert way.embedding["recall_at_1"].tolist() == [1, 1, 0, 1, 0]
    assert way.embedding["mrr"].tolist() == [1, 1, 0.5, 1, 0.5]
    expected = [1, 1, 1 / 2, 1, (1 / 2 + 2 / 3) / 2]
    assert all(math.isclose(a, b) for a, b in zip(way.embedding["map"], expected, strict=True))


def test_text_to_image_by_hand() -> None:
    """Each distinct report asks once; every image of the groups that share it answers."""
    way = evaluate_retrieval(IMAGES, REPORTS, RECORDS).text_to_image
    assert way.queries.tolist() == [0, 1, 3, 4]
    # Normal chest at 70 degrees ranks images 80, 90, 20, 10, 0: anna's and bert's stand third to fifth.
    assert way.embedding["recall_at_1"].tolist() == [0, 1, 1, 1]
    expected = [(1 / 3 + 2 / 4 + 3 / 5) / 3, (1 + 2 / 3) / 2, 1, 1]
    assert all(math.isclose(a, b) for a, b in zip(way.embedding["map"], expected, strict=True))


def test_codes_by_hand() -> None:
    """Distances are differences of the numbers of set bits: reports 24, 10, 40, 41 against images 0, 10, 20, 40, 30."""
    found = evaluate_retrieval(IMAGES, REPORTS, RECORDS)
    # Image 4 (30 bits) is 6 from the normal report, 10 from its own, 11 from the other of its group.
    assert found.image_to_text.code["recall_at_1"].tolist() == [1, 1, 1, 1, 0]
    assert found.image_to_text.code["mrr"].tolist() == [1, 1, 1, 1, 0.5]
    # The normal report (24 bits) is 4 from image 2, 6 from 4, 14 from 1, 16 from 3, 24 from 0.
    assert math.isclose(found.text_to_image.code["map"][0], (1 + 2 / 3 + 3 / 5) / 3)


def test_chance_counts_every_order_of_the_gallery() -> None:
    assert evaluate_retrieval(IMAGES, REPORTS, RECORDS).chance_recall_at_10 == 1.0


def test_order_of_studies_does_not_matter() -> None:
    order = [3, 1, 0, 4, 2]
    turned = [Embedded(half.embedding[order], half.code[order]) for half in (IMAGES, REPORTS)]
    found = evaluate_retrieval(*turned, [RECORDS[i] for i in order]).image_to_text
    expected = evaluate_retrieval(IMAGES, REPORTS, RECORDS).image_to_text
    assert found.embedding["map"].tolist() == expected.embedding["map"][order].tolist()


def test_no_study_is_refused() -> None:
    with pytest.raises((ValueError, ConfigError)):
        evaluate_retrieval(coded(at()), coded(at()), [])


def test_embedding_that_is_not_a_number_is_refused() -> None:
    broken = Embedded(IMAGES.embedding * math.nan, IMAGES.code)
    with pytest.raises(ValueError, match=r"NaN|finite"):
        evaluate_retrieval(broken, REPORTS, RECORDS)
