"""Words of radiology reports that a reader takes for one another; any word of a group for any other."""

from __future__ import annotations

from collections.abc import Mapping

GROUPS: tuple[tuple[str, ...], ...] = (
    ("small", "little", "minor", "tiny"),
    ("moderate", "intermediate", "medium-sized"),
    ("large", "big", "sizeable"),
    ("mild", "slight", "minimal"),
    ("severe", "marked", "extensive"),
    ("single", "solitary"),
    ("multiple", "several", "numerous"),
    ("bilateral", "both-sided"),
    ("upper", "superior", "apical"),
    ("middle", "mid"),
    ("lower", "inferior", "basal"),
    ("zone", "field"),
    ("zones", "fields"),
    ("effusion", "fluid"),
    ("mass", "tumour", "tumor"),
    ("nodule", "lesion"),
    ("opacity", "shadowing"),
    ("opacities", "markings"),
    ("consolidation", "infiltrate"),
    ("atelectasis", "collapse"),
    ("fracture", "break"),
    ("catheter", "line"),
    ("seen", "noted", "present"),
    ("normal", "unremarkable"),
    ("evidence", "sign"),
    ("image", "view", "scan"),
)

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    word: tuple(other for other in group if other != word) for group in GROUPS for word in group
}
