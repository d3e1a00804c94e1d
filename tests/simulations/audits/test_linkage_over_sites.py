"""A patient seen at two hospitals is recognised by what both tell where codes hold the patient, and else not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from client.policy.site_schema import SearchLimits
from common.hashing.codes import Codes, unpack
from simulations.audits.code_linkage import Linkage, Patients
from simulations.audits.linkage_over_sites import DEFAULT, EVERYTHING, linkage_over_sites, spread, told

NUM_PATIENTS, NUM_QUESTIONS, BITS = 120, 60, 64


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def packed(number: int, seed: int) -> Codes:
    return generator(seed).integers(0, 256, (number, BITS // 8), np.uint8)


def studies(noise: float) -> tuple[Codes, Patients]:
    """Two studies of each patient; a share of the bits of each is another than the patient's own. 0.5 is random."""
    own = unpack(np.repeat(packed(NUM_PATIENTS, 1), 2, axis=0)).astype(bool)
    codes = np.packbits(own ^ (generator(2).random(own.shape) < noise), axis=1, bitorder="little")
    patients = np.repeat([f"p{i:03}" for i in range(NUM_PATIENTS)], 2)
    return codes, Patients(patient_N=patients, findings_N=np.array([""] * len(codes)))


def linked(noise: float, limits: SearchLimits) -> Linkage:
    codes, who = studies(noise)
    found = linkage_over_sites(
        codes, packed(NUM_QUESTIONS, 3), who, limits=limits, generator=generator(4), num_resamples=200
    )
    assert found is not None
    return found


def test_patient_is_recognised_where_codes_hold_them_and_not_in_random_codes() -> None:
    """240 studies; the control's interval holds 0.5 at this seed, and would not in 1 of 20."""
    found, control = linked(0.05, EVERYTHING), linked(0.5, EVERYTHING)
    assert found.area > 0.95
    assert found.first > 0.5
    assert found.first_by_chance == pytest.approx(1 / NUM_PATIENTS), "those of the other hospital alone"
    assert control.area_interval.low < 0.5 < control.area_interval.high


def test_answers_as_they_are_limited_tell_less_than_every_distance() -> None:
    """The broken variant is a hospital without the limits: it is recognised by whom the limits hide."""
    limited, everything = linked(0.1, DEFAULT), linked(0.1, EVERYTHING)
    assert limited.area_interval.high < everything.area_interval.low
    assert limited.first < everything.first / 2


def test_studies_of_a_patient_lie_at_both_hospitals_in_turns() -> None:
    site_N = spread(np.array(["a", "b", "a", "b", "c", "a"]))
    assert site_N.tolist() == [0, 1, 1, 0, 0, 0]


def test_asker_is_told_the_nearest_rounded_up_and_of_others_that_they_are_no_nearer() -> None:
    codes: Codes = np.array([[0], [0b1], [0b11], [0b1111]], np.uint8)
    question: Codes = np.zeros((1, 1), np.uint8)
    limits = replace(DEFAULT, most_answers=2, distance_step=1)
    assert told(codes, question, limits=limits).ravel().tolist() == [0, 1, 1, 1]
    assert told(codes, question, limits=replace(limits, distance_step=4)).ravel().tolist() == [0, 4, 4, 4]
    several: NDArray[np.uint8] = np.array([[0], [0b1111]], np.uint8)
    stopped = told(codes, several, limits=replace(limits, studies_per_day=2))
    assert stopped[:, 1].tolist() == [0, 0, 0, 0], "nothing more is told on that day"
