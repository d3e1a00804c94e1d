"""Public studies of known truth: who has what, what a report says of it, and codes that hear words and no denial."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import PIL.Image

from client.mediator.public_gallery import PublicGallery
from common.hashing.codes import Codes
from common.types import StudyRecord

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Mass",
    "Nodule",
    "Pleural_Effusion",
    "Pneumonia",
    "Pneumothorax",
    "Rib Fracture",
)
NAMED, WRONGLY, DENIED = 0.5, 0.03, 0.2
"""How often a report names what there is, and what there is not, and denies what there is not."""
BIT_WIDTH = 64


class WordModel:
    """Codes of texts are the signs of sums of their words' vectors; pictures all have one code."""

    digest, bit_width = "b" * 64, BIT_WIDTH

    def encode_texts(self, texts: Sequence[str]) -> Codes:
        """Codes `[N, P]`."""
        return np.packbits(np.array([self._bits(text) for text in texts]), axis=1)

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> Codes:
        """Codes `[N, P]`."""
        return np.zeros((len(images), BIT_WIDTH // 8), np.uint8)

    def _bits(self, text: str) -> np.ndarray:
        words = [word.strip(".,").lower() for word in text.split()]
        return np.sum([_vector(word) for word in words], axis=0) > 0


@cache
def _vector(word: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=BIT_WIDTH)


def public_records(num_patients: int, *, seed: int) -> list[StudyRecord]:
    """One study of each patient, and of every tenth a second one with the same findings."""
    generator = np.random.default_rng(seed)
    records = []
    for patient in range(num_patients):
        here = sorted(generator.permutation(LABELS)[: generator.integers(1, 3)])
        for study in range(2 if patient % 10 == 0 else 1):
            chance = {label: generator.random() for label in LABELS}
            named = [label for label in LABELS if chance[label] < (NAMED if label in here else WRONGLY)]
            denied = [label for label in LABELS if label not in here and chance[label] > 1 - DENIED]
            report = " ".join([f"{name}." for name in named] + [f"No {name}." for name in denied]).replace("_", " ")
            records.append(
                StudyRecord(
                    study_id=f"{patient}-{study}",
                    patient_id=f"p{patient:03}",
                    report=f"Chest {seed * 1000 + patient}, {generator.integers(100)}. {report}",
                    findings=tuple(here),
                )
            )
    return records


def public_gallery(records: Sequence[StudyRecord], model: WordModel) -> PublicGallery:
    """The records, encoded, with one picture each."""
    return PublicGallery(
        records=tuple(records),
        images=np.zeros((len(records), BIT_WIDTH // 8), np.uint8),
        first_images=np.arange(len(records)),
        reports=model.encode_texts([record.report for record in records]),
    )
