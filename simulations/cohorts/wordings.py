"""The words of the grammar: nouns, degrees, places, frames, denials; the textbook's come first."""

from __future__ import annotations

from collections.abc import Mapping

from simulations.cohorts.findings import BILATERAL, LEFT, RIGHT

NOUNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "pleural effusion": (
        ("pleural effusion", "pleural effusions"),
        ("pleural fluid", "pleural fluid"),
        ("effusion", "effusions"),
        ("hydrothorax", "hydrothorax"),
    ),
    "consolidation": (
        ("consolidation", "consolidation"),
        ("airspace opacity", "airspace opacities"),
        ("pneumonic infiltrate", "pneumonic infiltrates"),
        ("alveolar shadowing", "alveolar shadowing"),
    ),
    "nodule": (
        ("nodule", "nodules"),
        ("nodular opacity", "nodular opacities"),
        ("coin lesion", "coin lesions"),
        ("round focus", "round foci"),
    ),
    "mass": (
        ("mass", "masses"),
        ("mass lesion", "mass lesions"),
        ("tumour", "tumours"),
        ("space-occupying lesion", "space-occupying lesions"),
    ),
    "pneumothorax": (
        ("pneumothorax", "pneumothoraces"),
        ("pleural air", "pleural air"),
        ("ptx", "ptx"),
    ),
    "cardiomegaly": (
        ("cardiomegaly", "cardiomegaly"),
        ("cardiac enlargement", "cardiac enlargement"),
        ("enlargement of the heart", "enlargement of the heart"),
        ("widening of the cardiac silhouette", "widening of the cardiac silhouette"),
    ),
    "atelectasis": (
        ("atelectasis", "atelectasis"),
        ("linear collapse", "linear collapse"),
        ("plate-like volume loss", "plate-like volume loss"),
        ("subsegmental collapse", "subsegmental collapse"),
    ),
    "interstitial opacities": (
        ("interstitial opacities", "interstitial opacities"),
        ("reticular markings", "reticular markings"),
        ("interstitial thickening", "interstitial thickening"),
        ("reticulation", "reticulation"),
    ),
    "rib fracture": (
        ("rib fracture", "rib fractures"),
        ("fractured rib", "fractured ribs"),
        ("costal fracture", "costal fractures"),
        ("break of the rib cage", "breaks of the rib cage"),
    ),
    "hiatal hernia": (
        ("hiatal hernia", "hiatal hernia"),
        ("hiatus hernia", "hiatus hernia"),
        ("retrocardiac gastric bubble", "retrocardiac gastric bubble"),
        ("herniated stomach", "herniated stomach"),
    ),
    "pacemaker": (
        ("pacemaker", "pacemaker"),
        ("pacing device", "pacing device"),
        ("cardiac pacing generator", "cardiac pacing generator"),
    ),
    "central line": (
        ("central venous line", "central venous lines"),
        ("central venous catheter", "central venous catheters"),
        ("CVC", "CVCs"),
    ),
    "endotracheal tube": (
        ("endotracheal tube", "endotracheal tube"),
        ("ET tube", "ET tube"),
        ("tracheal tube", "tracheal tube"),
    ),
}
"""Singular and plural by kind of finding; both the same where the word is not counted."""

Degrees = tuple[str, str, str]
SIZES: tuple[Degrees, ...] = (
    ("small", "moderate", "large"),
    ("minor", "medium-sized", "sizeable"),
    ("little", "intermediate", "big"),
)
GRADES: tuple[Degrees, ...] = (
    ("mild", "moderate", "severe"),
    ("slight", "moderate", "marked"),
    ("discrete", "intermediate", "extensive"),
)
EXTENTS: tuple[Degrees, ...] = (
    ("single", "double", "multiple"),
    ("solitary", "paired", "several"),
)
DEGREES: Mapping[str, tuple[Degrees, ...]] = {
    "pleural effusion": SIZES,
    "consolidation": GRADES,
    "nodule": SIZES,
    "mass": SIZES,
    "pneumothorax": SIZES,
    "cardiomegaly": GRADES,
    "atelectasis": GRADES,
    "interstitial opacities": GRADES,
    "rib fracture": EXTENTS,
    "hiatal hernia": SIZES,
}
"""Words for small, moderate and large by kind of finding."""

ZONE_WORDS: Mapping[str, tuple[str, ...]] = {
    "upper": ("upper", "apical", "superior"),
    "middle": ("middle", "mid", "perihilar"),
    "lower": ("lower", "basal", "inferior"),
}
REGIONS = ("zone", "lung zone", "field", "lung field")

SIDE_WORDS: Mapping[str, tuple[str, ...]] = {
    LEFT: ("left", "left-sided", "L"),
    RIGHT: ("right", "right-sided", "R"),
    BILATERAL: ("bilateral", "both-sided", "bilateral"),
}

FINDING_FRAMES = (
    "{degree} {noun} {at}",
    "{degree} {place} {noun}",
    "{noun} {at}, {degree}",
    "{place} {noun}, {degree}",
    "{degree} {noun} is seen {at}",
)
DEVICE_FRAMES = ("{place} {noun} in place", "{noun} {at}", "{place} {noun} in situ", "{place} {noun} noted")

DENIALS = (
    "no {noun}",
    "no evidence of {noun}",
    "negative for {noun}",
    "{noun} is not seen",
    "without {noun}",
)
CLEAR = (
    "The lungs are clear",
    "Lungs and pleura are unremarkable",
    "Normal aeration of both lungs",
    "Lung fields normal",
)
NORMAL_HEART = (
    "Heart size is normal",
    "Cardiac silhouette within normal limits",
    "Heart not enlarged",
    "Normal cardiac contour",
)
OPENINGS = (
    "",
    "Chest radiograph, frontal view.",
    "FINDINGS:",
    "Digital chest X-ray, one image obtained.",
    "CXR:",
    "Report of examination.",
)
CLOSINGS = (
    "",
    "Clinical correlation is advised.",
    "Findings were reviewed with the attending team.",
    "END OF REPORT.",
    "Follow-up as clinically indicated.",
)
