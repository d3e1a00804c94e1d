"""An archive over DICOMweb (DICOM PS3.18): QIDO-RS to find, WADO-RS to fetch, by `dicomweb-client`.

Instances are asked for in Explicit VR Little Endian, which every archive must be able to give and needs no decoder
here. `dicomweb-client` raises nearly anything at an answer that is not what it should be: all of it ends here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmwrite

from client.pacs.faults import ArchiveSilent, StudyRefused
from client.pacs.interface import FoundSeries, FoundStudy, lenient, whole_number
from client.pacs.landing import Landing
from client.pacs.web_session import WebSession
from common.errors import ConfigError, TrustError, WardroundError

_SECONDS = (10.0, 120.0)
"""To connect, and between two bytes of an answer."""

_PAGE = 200
_MOST_OF_A_DAY = 100_000
"""Studies of one day after which an archive is taken to answer without end."""

_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Statuses that may be another the next time."""

_GONE = {404, 410}


class DicomWebArchive:
    """An archive over DICOMweb; see `Archive`.

    Args:
        url: Its address, checked (`client/pacs/web_session.py`).
        session: A session for it.
    """

    def __init__(self, url: str, session: WebSession) -> None:
        try:
            self._client = DICOMwebClient(
                url.rstrip("/"), session=session.requests, timeout=_SECONDS, permissive_uid=True
            )
        except ValueError as error:
            raise ConfigError("--dicomweb: not an address; write https://HOST/PATH") from error
        self._session = session
        self._client.set_http_retry_params(retry=False)  # tries again by itself: client/pacs/pace.py, for every way

    def studies_of(self, day: date) -> list[FoundStudy]:
        """See `Archive`; page after page, until one holds nothing new."""
        found: dict[str, FoundStudy] = {}
        while len(found) <= _MOST_OF_A_DAY:
            with self._asking(of_study=False):
                page = self._client.search_for_studies(
                    search_filters={"StudyDate": f"{day:%Y%m%d}"},
                    fields=["ModalitiesInStudy", "NumberOfStudyRelatedInstances"],
                    limit=_PAGE,
                    offset=len(found),
                )
                studies = [self._study(entry) for entry in page]
            new = {study.uid: study for study in studies if study.uid not in found}
            if not new:
                return list(found.values())
            found.update(new)
        raise ConfigError(f"the archive lists more than {_MOST_OF_A_DAY:,} studies of one day; look at its DICOMweb")

    def series_of(self, study_uid: str) -> list[FoundSeries]:
        """See `Archive`."""
        with self._asking(of_study=True):
            entries = self._client.search_for_series(study_uid, fields=["NumberOfSeriesRelatedInstances"])
            return [
                FoundSeries(
                    self._text(entry, "SeriesInstanceUID"),
                    self._text(entry, "Modality"),
                    whole_number(self._text(entry, "NumberOfSeriesRelatedInstances")),
                )
                for entry in entries
            ]

    def fetch(self, study_uid: str, series_uid: str, landing: Landing) -> None:
        """See `Archive`."""
        with self._asking(of_study=True):
            for dataset in self._client.iter_series(study_uid, series_uid):
                content = io.BytesIO()
                dcmwrite(content, dataset, enforce_file_format=True)
                landing.land(content.getvalue())

    @contextmanager
    def _asking(self, *, of_study: bool) -> Iterator[None]:
        """Turn whatever the block raises into one of the errors of `Archive`.

        Args:
            of_study: Whether the question is about one study.
        """
        try:
            with lenient():
                yield
        except requests.RequestException as error:
            raise _of_request(error, of_study=of_study) from error
        except (WardroundError, OSError):
            raise
        except Exception as error:
            raise _not_dicomweb(of_study=of_study) from error
        finally:
            self._session.end_answer()

    def _study(self, entry: Mapping[str, Any]) -> FoundStudy:
        return FoundStudy(
            self._text(entry, "StudyInstanceUID"),
            frozenset(str(value) for value in self._values(entry, "ModalitiesInStudy")),
            whole_number(self._text(entry, "NumberOfStudyRelatedInstances")),
        )

    def _text(self, entry: Mapping[str, Any], keyword: str) -> str:
        return str(next(iter(self._values(entry, keyword)), ""))

    def _values(self, entry: Mapping[str, Any], keyword: str) -> list[Any]:
        """Values in the DICOM JSON model (PS3.18 F.2)."""
        return list(entry.get(self._client.lookup_tag(keyword), {}).get("Value", ()))


def _not_dicomweb(*, of_study: bool) -> WardroundError:
    return (StudyRefused if of_study else ConfigError)("the archive's answer is not DICOMweb's")


def _of_request(error: requests.RequestException, *, of_study: bool) -> WardroundError:
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return _not_dicomweb(of_study=of_study)
    if isinstance(error, requests.exceptions.SSLError):
        return TrustError("--dicomweb: the archive's certificate is not believed; give --ca FILE of its authority")
    if isinstance(error, requests.TooManyRedirects):
        return ConfigError("--dicomweb: the archive sends on to another address; give the one that answers itself")
    if not isinstance(error, requests.HTTPError):
        return ArchiveSilent("the archive does not answer, or its answer broke off")
    status = error.response.status_code
    if status in {401, 403}:
        return ConfigError(f"--dicomweb: the archive refuses this user ({status}); look at --login and its rights")
    if status in _PASSING:
        return ArchiveSilent(f"the archive answers {status}")
    if of_study:
        said = "it is no longer there" if status in _GONE else "the archive will not give it"
        return StudyRefused(f"{said} ({status})")
    return ConfigError(f"--dicomweb: there is no DICOMweb at this address (the search is answered {status})")
