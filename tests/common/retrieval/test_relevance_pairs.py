"""What "relevant" means, and which pairs it is counted over: against loops over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.retrieval.relevance_pairs import By, Labels, pairs_of

Study = tuple[int, frozenset[str], str]
"""Patient, findings, report."""

studies = st.lists(
    st.tuples(st.integers(0, 4), st.frozensets(st.sampled_from("abc"), max_size=2), st.sampled_from(["x", "y", "z"])),
    min_size=1,
    max_size=10,
)


def expected(found: list[Study], *, same_kind: bool) -> dict[tuple[int, int], bool]:
    """Which pairs count, and whether they are relevant, one by one."""
    pairs = {}
    for i, (patient, findings, report) in enumerate(found):
        for j, (other, theirs, other_report) in enumerate(found):
            if any(each for _, each, _ in found):
                if patient != other and findings:
                    pairs[i, j] = bool(findings & theirs)
            elif not (same_kind and i == j):
                pairs[i, j] = report == other_report
    return pairs


@settings(max_examples=40)
@given(studies, st.booleans())
def test_pairs_are_those_of_the_definition(found: list[Study], same_kind: bool) -> None:  # noqa: FBT001
    labels = Labels.of([sorted(each) for _, each, _ in found], [report for *_, report in found])
    patients = np.array([patient for patient, *_ in found])
    scores = np.arange(len(found) ** 2, dtype=np.float64).reshape(len(found), len(found))
    pairs = pairs_of(scores, labels, patients, same_kind=same_kind)
    wanted = expected(found, same_kind=same_kind)
    places = [divmod(int(score), len(found)) for score in pairs.scores_M]
    assert dict(zip(places, pairs.relevant_M.tolist(), strict=True)) == wanted
    assert pairs.query_patients_M.tolist() == [found[i][0] for i, _ in places]
    assert pairs.item_patients_M.tolist() == [found[j][0] for _, j in places]
    assert labels.by is (By.FINDINGS if any(each for _, each, _ in found) else By.REPORT)


def test_scores_and_labels_of_other_studies_are_refused() -> None:
    labels = Labels.of([[], []], ["x", "y"])
    with pytest.raises(ValueError, match="must agree"):
        pairs_of(np.zeros((3, 3)), labels, np.arange(3), same_kind=False)


def test_pairs_among_a_share_of_patients_keep_the_base_rate_of_the_gallery() -> None:
    """A query keeps its own study and a share of the others: without weights it would look likelier than it is."""
    num = 60
    labels = Labels.of([[]] * num, [str(row) for row in range(num)])
    pairs = pairs_of(np.zeros((num, num)), labels, np.arange(num), same_kind=False)
    fifth = pairs.within(np.arange(12))
    assert pairs.base_rate == pytest.approx(1 / num)
    assert fifth.base_rate == pytest.approx(1 / num)
    assert fifth.relevant_M.mean() == pytest.approx(1 / 12), "the control: what it were without weights"


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=30), st.integers(1, 4))
def test_first_pairs_of_a_query_are_its_best_with_ties(rows: list[tuple[int, int]], number: int) -> None:
    queries, scores = (np.array(column) for column in zip(*rows, strict=True))
    labels = Labels.of([[]] * 2, ["x", "y"])
    some = pairs_of(np.zeros((2, 2)), labels, np.arange(2), same_kind=False)
    whole = type(some)(
        scores_M=scores.astype(float),
        relevant_M=np.zeros(len(rows), bool),
        queries_M=queries,
        query_patients_M=queries,
        item_patients_M=queries,
        weights_M=np.ones(len(rows)),
    )
    first = whole.are_first(number)
    for row, (query, score) in enumerate(rows):
        better = sum(other > score for asked, other in rows if asked == query)
        assert first[row] == (better < number)
