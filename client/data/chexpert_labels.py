"""Labels of the CheXpert labeller (Irvin et al. 2019, arXiv:1901.07031), which several data sets publish in columns.

1 says that a finding is there, 0 that it is not, -1 that it is uncertain; a blank says nothing of it.
"""

from __future__ import annotations

from client.data.rows import Row

LABELS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The columns that name a finding; `No Finding` names none."""

PRESENT = frozenset({"1", "1.0"})


def findings_of(row: Row) -> tuple[str, ...]:
    """The findings that are there."""
    return tuple(name for name in LABELS if row.get(name) in PRESENT)
