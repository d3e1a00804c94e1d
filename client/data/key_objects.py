"""Studies that were found, as DICOM Key Object Selection documents (PS3.3 A.35.4), so that a viewer opens them.

A document belongs to one DICOM study of one patient, and may not point into another patient's (PS3.3 C.17.6.2). So a
search becomes a folder with one document for each DICOM study that was found, which points to the images in it that
were. Each belongs into that study in the hospital's archive, and is as private as the images.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from highdicom import UID
from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.sr.codedict import codes

from client.data.dicom import DicomAdapter
from client.data.dicom_image import header_text, mended
from common.errors import ConfigError, DataError
from common.files import replaced_atomically
from common.types import UnusableRow

_SERIES_NUMBER = 9900
"""Far from those of the images; the standard asks for no particular one."""


def write_key_objects(folder_of_studies: DicomAdapter, study_ids: Collection[str], folder: Path) -> tuple[Path, ...]:
    """Write one document for each DICOM study that holds some of these images.

    Args:
        folder_of_studies: The hospital's DICOM files.
        study_ids: SOP instance UIDs of the images that were found.
        folder: Where to; made where it is not, and empty.

    Returns:
        The documents, in the order of their studies' UIDs.

    Raises:
        ConfigError: The folder holds something.
        DataError: An image is not there any more, or its header lacks what a document needs.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--dicom {folder}: holds something already; give a new folder")
    images: dict[str, list[Dataset]] = {}
    for _, header in folder_of_studies.headers(frozenset(study_ids)):
        images.setdefault(header_text(header, "StudyInstanceUID"), []).append(header)
    num_found = sum(map(len, images.values()))
    if num_found < len(study_ids):
        raise DataError(
            f"--dicom: {len(study_ids) - num_found} of {len(study_ids)} images that were found are in the folder no "
            "more; run wardround site index"
        )
    documents = {study: _document(headers) for study, headers in sorted(images.items())}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for number, document in enumerate(documents.values(), start=1):
        path = folder / f"selection-{number:03}.dcm"
        with replaced_atomically(path) as temporary:
            document.save_as(temporary, enforce_file_format=True)
        written.append(path)
    return tuple(written)


def _document(images: Sequence[Dataset]) -> KeyObjectSelectionDocument:
    with mended():
        try:
            return KeyObjectSelectionDocument(
                evidence=images,
                content=KeyObjectSelection(document_title=codes.DCM.OfInterest, referenced_objects=images),
                series_instance_uid=UID(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=UID(),
                instance_number=1,
                manufacturer="wardround",
            )
        except Exception as error:  # a header that lacks or breaks what is copied raises nearly anything
            # No text of the error: it may quote the header, which holds patient data.
            raise UnusableRow(
                f"--dicom: a study's header lacks what a key object selection needs ({type(error).__name__}); "
                "export the study again"
            ) from error
