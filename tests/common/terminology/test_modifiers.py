"""Sides, severities, changes and kinds of image, as words say them."""

import pytest

from common.terminology.modifiers import MODALITIES, modality, modifiers
from common.terminology.words import tokens


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("left-sided effusion", [("laterality", ("left",))]),
        ("both lungs, severe", [("laterality", ("bilateral",)), ("severity", ("severe",))]),
        ("no significant change in the mass", [("change", ("stable",))]),
        ("new onset", [("change", ("new",))]),
        ("a chest x-ray", [("modality", ("CR", "DX"))]),
        ("magnetic resonance imaging", [("modality", ("MR",))]),
        ("ultrasound of the liver", [("modality", ("US",))]),
        ("give us cases", []),
        ("the liver", []),
    ],
)
def test_modifiers_are_those_that_are_said(text: str, said: list[tuple[str, tuple[str, ...]]]) -> None:
    assert [(one.kind, one.values) for one in modifiers(tokens(text))] == said


def test_modifier_inside_a_name_is_none() -> None:
    assert not modifiers(tokens("left ventricle"), taken=[(0, 2)])


def test_kind_of_image_is_a_concept_of_dicom() -> None:
    assert (modality("CT").scheme, modality("CT").meaning) == ("DCM", "Computed Tomography")
    assert set(MODALITIES) == {modality(code).code for code in MODALITIES}
