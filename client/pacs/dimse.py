"""An archive over DIMSE (DICOM PS3.4 C, PS3.7), as every archive speaks it: C-FIND, C-GET or C-MOVE, by `pynetdicom`.

C-GET brings instances back over the connection that asked. An archive that does not offer it is told by C-MOVE to send
them to our AE title, at an address that its people have entered: `MovingArchive.listening` takes them there, from that
archive's AE title alone, and only while something was asked for.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from pydicom import Dataset
from pynetdicom import AE, Association, build_context, build_role
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from client.pacs.dimse_receiver import Receiver
from client.pacs.faults import ArchiveSilent
from client.pacs.interface import FoundSeries, FoundStudy, lenient, whole_number
from client.pacs.landing import Landing
from client.pacs.storage_classes import STORAGE_CLASSES, UNCOMPRESSED, decodable, storage_contexts
from common.errors import ConfigError

FIND = StudyRootQueryRetrieveInformationModelFind
GET = StudyRootQueryRetrieveInformationModelGet
MOVE = StudyRootQueryRetrieveInformationModelMove

_ANSWER_SECONDS = 300.0
"""Between two answers: an archive may have to fetch a study from a slower one behind it."""

_CONNECT_SECONDS = 15.0

_SUCCESS = 0x0000
_PENDING = {0xFF00, 0xFF01}
_MOVE_DESTINATION_UNKNOWN = 0xA801

_PERMANENT = 1
"""Result of an association that was rejected and would be the next time (PS3.8, 9.3.4)."""


@dataclass(frozen=True, kw_only=True)
class DimseAddress:
    """Where an archive is, and who asks.

    Attributes:
        title: The archive's AE title.
        host: Its host.
        port: Its port.
        own_title: Our AE title, which its people have entered.
    """

    title: str
    host: str
    port: int
    own_title: str


class DimseArchive:
    """An archive over DIMSE, by C-GET; see `Archive`.

    Args:
        address: Where it is, and who asks.
    """

    def __init__(self, address: DimseAddress) -> None:
        self._address = address
        self._receiver = Receiver()

    def studies_of(self, day: date) -> list[FoundStudy]:
        """See `Archive`."""
        query = _query("STUDY", StudyDate=f"{day:%Y%m%d}", StudyInstanceUID="")
        query.ModalitiesInStudy, query.NumberOfStudyRelatedInstances = "", ""
        found = [
            FoundStudy(
                _text(entry, "StudyInstanceUID"),
                frozenset(filter(None, _text(entry, "ModalitiesInStudy").split("\\"))),
                whole_number(_text(entry, "NumberOfStudyRelatedInstances")),
            )
            for entry in self._find(query)
        ]
        return list({study.uid: study for study in found}.values())

    def series_of(self, study_uid: str) -> list[FoundSeries]:
        """See `Archive`."""
        query = _query("SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID="")
        query.Modality, query.NumberOfSeriesRelatedInstances = "", ""
        return [
            FoundSeries(
                _text(entry, "SeriesInstanceUID"),
                _text(entry, "Modality"),
                whole_number(_text(entry, "NumberOfSeriesRelatedInstances")),
            )
            for entry in self._find(query)
        ]

    def fetch(self, study_uid: str, series_uid: str, landing: Landing) -> None:
        """See `Archive`."""
        query = _query("SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid)
        with self._receiver.into(landing), self._associated(GET) as association:
            self._check_retrieved("C-GET", association.send_c_get(query, GET))

    def _check_retrieved(self, how: str, answers: Iterable[tuple[Dataset, Dataset | None]]) -> None:
        """Check the last answer to a C-GET or C-MOVE (PS3.4 C.4.2.1.5, C.4.3.1.4).

        Raises:
            ArchiveSilent: Not all came, or the archive did not say so.
            ConfigError: The archive does not know where to send it.
        """
        code = None
        for status, _ in answers:
            code = status.get("Status")
        if code == _MOVE_DESTINATION_UNKNOWN:
            raise ConfigError(
                f"--listen: the archive does not know {self._address.own_title} as a destination; have it entered there"
            )
        if code != _SUCCESS:
            raise ArchiveSilent(self._broke_off(f"a {how}", code))

    def _broke_off(self, at: str, code: int | None) -> str:
        if code is not None:
            return f"the archive did not end {at} well (status 0x{code:04X})"
        return f"the archive ended the connection at {at}; it may not let {self._address.own_title} do it"

    def _find(self, query: Dataset) -> list[Dataset]:
        found = []
        with self._associated(FIND) as association:
            for status, entry in association.send_c_find(query, FIND):
                code = status.get("Status")
                if code in _PENDING and entry is not None:
                    found.append(entry)
                elif code != _SUCCESS:
                    raise ArchiveSilent(self._broke_off("a search", code))
        return found

    @contextmanager
    def _associated(self, model: str) -> Iterator[Association]:
        """An association for one kind of question, released or aborted after it."""
        entity = AE(ae_title=self._address.own_title)
        entity.acse_timeout = entity.connection_timeout = _CONNECT_SECONDS
        entity.dimse_timeout = entity.network_timeout = _ANSWER_SECONDS
        takes = model == GET
        entity.requested_contexts = [build_context(model), *(storage_contexts() if takes else ())]
        address = self._address
        association = entity.associate(
            address.host,
            address.port,
            ae_title=address.title,
            ext_neg=[build_role(storage, scp_role=True) for storage in STORAGE_CLASSES] if takes else [],
            evt_handlers=self._receiver.handlers if takes else [],
        )
        _check_established(association, model)
        try:
            with lenient():
                yield association
        except (RuntimeError, ValueError) as error:  # of pynetdicom, where the connection has gone meanwhile
            raise ArchiveSilent("the archive ended the connection") from error
        finally:
            if association.is_established:
                association.release()


class MovingArchive(DimseArchive):
    """An archive over DIMSE, by C-MOVE to ourselves; see `Archive`.

    Args:
        address: Where it is, and who asks.
    """

    def fetch(self, study_uid: str, series_uid: str, landing: Landing) -> None:
        """See `Archive`."""
        query = _query("SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid)
        with self._receiver.into(landing), self._associated(MOVE) as association:
            self._check_retrieved("C-MOVE", association.send_c_move(query, self._address.own_title, MOVE))

    @contextmanager
    def listening(self, port: int) -> Iterator[None]:
        """Take what the archive sends, during the block, on the address of this machine that faces it.

        Raises:
            ConfigError: The port cannot be listened on.
        """
        entity = AE(ae_title=self._address.own_title)
        entity.require_called_aet = True
        entity.require_calling_aet = [self._address.title]
        entity.maximum_associations = 4
        entity.network_timeout = _ANSWER_SECONDS
        for storage in STORAGE_CLASSES:
            entity.add_supported_context(storage, [*UNCOMPRESSED, *decodable()])
        try:
            own = _facing(self._address)
            server = entity.start_server((own, port), block=False, evt_handlers=self._receiver.handlers)
        except OSError as error:
            raise ConfigError(
                f"--listen {port}: cannot be listened on ({error.strerror}); give another port"
            ) from error
        try:
            yield
        finally:
            server.shutdown()
            entity.shutdown()


def _facing(address: DimseAddress) -> str:
    """The address of this machine from which it would speak to the archive; nothing is sent."""
    try:
        family, *_, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise ConfigError(f"--aet: {address.host} is no host that is known here; give its name or address") from error
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(where)
        return str(probe.getsockname()[0])


def _query(level: str, **keys: str) -> Dataset:
    query = Dataset()
    with lenient():
        query.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(query, keyword, value)
    return query


def _text(entry: Dataset, keyword: str) -> str:
    """A value as text, several of them with a backslash between, as DICOM has it."""
    try:
        with lenient():
            value = entry.get(keyword)
    except Exception as error:  # a damaged value raises nearly anything
        raise ArchiveSilent("the archive's answer to a search is damaged") from error
    if value is None:
        return ""
    return str(value) if isinstance(value, str) or not hasattr(value, "__iter__") else "\\".join(map(str, value))


def _check_established(association: Association, model: str) -> None:
    """Check that the archive speaks with us.

    Raises:
        ArchiveSilent: It does not, now.
        ConfigError: It never will, or does not offer this kind of question.
    """
    if association.is_rejected:
        answer = association.acceptor.primitive
        if answer is not None and answer.result == _PERMANENT:
            raise ConfigError(
                f"--aet: the archive does not accept {association.requestor.ae_title} asking for "
                f"{association.acceptor.ae_title}; have our AE title entered there, or look at --aet and --own-aet"
            )
    if any(context.abstract_syntax == model for context in association.rejected_contexts):
        association.abort()
        remedy = "; give --listen PORT and have our AE title, host and port entered there" if model == GET else ""
        raise ConfigError(f"--aet: the archive does not offer {_NAMES[model]} to us{remedy}")
    if not association.is_established:
        raise ArchiveSilent("the archive does not answer at --aet")


_NAMES: dict[str, str] = {FIND: "C-FIND", GET: "C-GET", MOVE: "C-MOVE"}
