"""What codes give away: what was planted is found, random codes give chance, and flips are as private as is said."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from common.types import StudyRecord
from simulations.audits.code_inversion import read_off, traits_among
from simulations.audits.code_linkage import Linkage, Patients, linkage
from simulations.audits.randomised_codes import flip_probability, flipped, recall_of_flipped

NUM_PATIENTS, BITS = 150, 64


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def two_studies_each(noise: float) -> tuple[NDArray[np.float64], Patients]:
    """Two studies of each patient, whose codes differ from the patient's own in a share of the bits; 0.5 is random."""
    own = np.repeat(generator(1).random((NUM_PATIENTS, BITS)) < 0.5, 2, axis=0)
    codes = np.where(own ^ (generator(2).random(own.shape) < noise), 1.0, -1.0)
    patients = np.repeat([f"p{i}" for i in range(NUM_PATIENTS)], 2)
    return codes, Patients(patient_N=patients, findings_N=np.array(["mass", "", ""] * (len(codes) // 3)))


def linked(noise: float) -> Linkage:
    codes, who = two_studies_each(noise)
    found = linkage(-(codes @ codes.T), who, generator=generator(), num_resamples=200)
    assert found is not None
    return found


def test_linkage_finds_patients_in_codes_that_hold_them_and_none_in_random_ones() -> None:
    """150 patients. The control's interval holds 0.5 at this seed; of random codes 1 in 20 would not."""
    found, control = linked(0.1), linked(0.5)
    assert found.num_studies == 2 * NUM_PATIENTS
    assert found.area > 0.99
    assert found.first > 0.95
    assert found.area_same_findings is not None
    assert control.area_interval.low < 0.5 < control.area_interval.high
    assert control.first_interval.low <= control.first_by_chance <= max(control.first_interval.high, 0.02)
    assert control.first_by_chance == pytest.approx(1 / (2 * NUM_PATIENTS - 1))


def test_linkage_area_is_that_of_scikit_learn_with_ties() -> None:
    codes, who = two_studies_each(0.4)
    distances = np.round(-(codes @ codes.T) / 8)
    found = linkage(distances, who, generator=generator(), num_resamples=10)
    areas = []
    for row in range(len(codes)):
        others = np.arange(len(codes)) != row
        areas.append(roc_auc_score((who.patient_N == who.patient_N[row])[others], -distances[row][others]))
    assert found is not None
    assert found.area == pytest.approx(float(np.mean(areas)))


def test_linkage_of_patients_with_one_study_each_is_nothing() -> None:
    who = Patients(patient_N=np.array(["a", "b", "c"]), findings_N=np.array(["", "", ""]))
    assert linkage(np.zeros((3, 3)), who, generator=generator(), num_resamples=10) is None


def records(number: int, seed: int) -> list[StudyRecord]:
    draw = generator(seed)
    return [
        StudyRecord(
            study_id=f"{seed}-{i}",
            patient_id=f"{seed}-{i // 2}",
            report="",
            sex=str(draw.choice(["F", "M"])),
            age=int(draw.integers(20, 90)),
            findings=("mass",) if draw.random() < 0.4 else (),
        )
        for i in range(number)
    ]


def test_line_reads_the_trait_that_a_code_holds_and_no_other() -> None:
    """600 public studies and 600 others; sex stands in one bit, with a tenth of errors: an area of 0.9."""
    public, private = records(600, 4), records(600, 5)
    codes = []
    for number, some in enumerate((public, private)):
        bits = np.where(generator(6 + number).random((600, BITS)) < 0.5, 1.0, -1.0)
        sex = np.array([1.0 if record.sex == "F" else -1.0 for record in some])
        bits[:, 5] = np.where(generator(8 + number).random(600) < 0.1, -sex, sex)
        codes.append(bits)
    patients = np.array([record.patient_id for record in private])
    traits = traits_among(public, private)
    assert [trait.name for trait in traits] == ["sex", "age", "finding mass"]
    read = {trait.name: read_off(*codes, trait, patients, generator=generator(), num_resamples=200) for trait in traits}
    assert read["sex"].interval.low < 0.9 < read["sex"].interval.high + 0.03
    assert read["sex"].area > 0.85
    for name in ("age", "finding mass"):
        assert read[name].interval.low < 0.5 < read[name].interval.high
        assert read[name].num_studies == 600


def test_trait_that_is_not_known_or_rare_is_left_out() -> None:
    some = records(50, 9)
    rare = [*some[:-1], StudyRecord(study_id="x", patient_id="x", report="", findings=("rare",))]
    assert "finding rare" not in {trait.name for trait in traits_among(rare, some)}
    nothing = [StudyRecord(study_id=str(i), patient_id=str(i), report="") for i in range(50)]
    assert traits_among(nothing, nothing) == []


@settings(deadline=None)  # a busy machine
@given(epsilon=st.floats(0, 60), bits=st.integers(1, 8))
def test_flips_tell_any_two_codes_apart_by_no_more_than_epsilon(epsilon: float, bits: int) -> None:
    """The exact law: all answers to all pairs of codes of a few bits, by their products of probabilities."""
    flip = flip_probability(epsilon, bits=bits)
    codes = list(itertools.product((0, 1), repeat=min(bits, 3)))
    share = epsilon * len(codes[0]) / bits
    for one, other, answer in itertools.product(codes, codes, codes):
        of_one, of_other = (
            math.prod(flip if a != b else 1 - flip for a, b in zip(code, answer, strict=True)) for code in (one, other)
        )
        assert of_one <= math.exp(share) * of_other * (1 + 1e-9)
    assert math.log((1 - flip) / flip) * bits == pytest.approx(epsilon, abs=1e-6), "and by no less"


def test_flips_come_as_often_as_their_law_says() -> None:
    """640,000 bits at a fixed seed; five standard errors either way: a false alarm in two million."""
    codes = np.zeros((10_000, 8), np.uint8)
    for epsilon in (0.0, 64.0, 256.0):
        share = np.unpackbits(flipped(codes, epsilon=epsilon, generator=generator(11))).mean()
        expected = 1 / (1 + math.exp(epsilon / 64))
        assert abs(share - expected) <= 5 * math.sqrt(expected * (1 - expected) / 640_000)


def test_recall_of_flipped_questions_falls_to_chance() -> None:
    codes = generator(12).integers(0, 256, (200, 8), np.uint8)
    relevant = np.eye(200, dtype=bool)
    recall = [
        recall_of_flipped(codes, codes, relevant, epsilon=epsilon, generator=generator(13))
        for epsilon in (0.0, 128.0, None)
    ]
    assert recall[0] < 0.12  # chance is 0.05
    assert recall[1] > 0.9
    assert recall[2] == 1.0
