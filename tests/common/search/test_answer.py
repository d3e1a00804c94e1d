"""What all hospitals answer together: the nearest, everyone that ties with the last of them, and who was silent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import AdmissionError, TrustError
from common.search.answer import Hit, Silent, SiteAnswer, check_site_answer, merged, read_answer
from common.trust.keys import SigningKey

Q = "b" * 64
DISTANCES = st.dictionaries(
    st.sampled_from(["northgate", "riverside", "st-marys"]), st.lists(st.integers(0, 40), max_size=12), min_size=1
)


def answers_of(distances: dict[str, list[int]]) -> dict[str, SiteAnswer]:
    return {
        site: SiteAnswer(
            question=Q,
            hits=tuple(
                Hit(handle=f"{site}-study-number-{number:04}", distance=one) for number, one in enumerate(sorted(found))
            ),
            cut=False,
        )
        for site, found in distances.items()
    }


def of(*hits: tuple[str, int]) -> SiteAnswer:
    return SiteAnswer(question=Q, hits=tuple(Hit(handle=handle, distance=one) for handle, one in hits), cut=False)


@given(DISTANCES, st.integers(1, 15))
def test_merged_holds_the_nearest_of_all_with_their_ties(distances: dict[str, list[int]], most: int) -> None:
    answer = merged(Q, answers_of(distances), [], most=most)
    everything = sorted(one for found in distances.values() for one in found)
    # Independent of how it is merged: all at most as far as the k-th of the pooled list.
    wanted = [one for one in everything if one <= everything[min(most, len(everything)) - 1]] if everything else []
    assert [hit.distance for hit in answer.hits] == wanted
    assert not answer.partial


def test_silent_hospital_makes_the_answer_partial() -> None:
    answer = merged(Q, answers_of({"northgate": [3]}), [Silent(site="riverside", reason="offline")], most=10)
    assert answer.partial
    assert answer.answered == ("northgate",)
    assert [one.site for one in answer.silent] == ["riverside"]


def test_cut_is_told_of_a_hospital_whose_last_distance_is_in_the_answer() -> None:
    near = SiteAnswer(question=Q, hits=(Hit(handle="n" * 20, distance=1),), cut=True)
    far = SiteAnswer(question=Q, hits=(Hit(handle="f" * 20, distance=9),), cut=True)
    assert merged(Q, {"near": near, "far": far}, [], most=1).cut == ("near",)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (SiteAnswer(question="c" * 64, hits=(), cut=False), "replayed"),
        (answers_of({"a": [*range(11)]})["a"], "size"),
        (answers_of({"a": [1] * 1001})["a"], "size"),
        (
            SiteAnswer(
                question=Q, hits=(Hit(handle="h" * 20, distance=2), Hit(handle="i" * 20, distance=1)), cut=False
            ),
            "malformed",
        ),
        (SiteAnswer(question=Q, hits=(Hit(handle="h" * 20, distance=1),) * 2, cut=False), "malformed"),
        (SiteAnswer(question=Q, hits=(Hit(handle="../../etc/passwd-0", distance=1),), cut=False), "malformed"),
        (SiteAnswer(question=Q, hits=(Hit(handle="h" * 20, distance=-1),), cut=False), "malformed"),
        (SiteAnswer(question=Q, hits=(), cut=True), "malformed"),
    ],
)
def test_answer_that_cannot_be_one_is_refused(answer: SiteAnswer, reason: str) -> None:
    with pytest.raises(AdmissionError, match=reason):
        check_site_answer(answer, question=Q, most=10)


def test_ties_with_the_last_that_was_asked_for_may_be_told() -> None:
    check_site_answer(answers_of({"a": [1, 2, 2, 2]})["a"], question=Q, most=2)


def test_answer_to_another_question_or_of_another_key_is_refused() -> None:
    key = SigningKey.fresh()
    answer = merged(Q, answers_of({"northgate": [3, 4]}), [], most=10)
    assert read_answer(answer.sealed(key), key.public, question=Q) == answer
    with pytest.raises(AdmissionError, match="another question"):
        read_answer(answer.sealed(key), key.public, question="d" * 64)
    with pytest.raises(TrustError):
        read_answer(answer.sealed(SigningKey.fresh()), key.public, question=Q)
