"""An archive over DIMSE that lies, and what comes to our port without being asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.uid import ComputedRadiographyImageStorage
from pynetdicom import AE, evt

from client.pacs import landing
from client.pacs.dimse import FIND, GET, DimseAddress, MovingArchive
from client.pacs.landing import Landing
from tests.client.pacs.archive_studies import ROOT, image, study_uid
from tests.client.pacs.conftest import Command, files_of
from tests.client.pacs.orthanc import OWN_TITLE, TITLE
from tests.common.service.ports import free_port

Answers = Callable[[evt.Event], Iterator[tuple[int, Dataset | None]]]


@contextmanager
def lying_pacs(*, found: Answers, gives: list[Dataset]) -> Iterator[str]:
    """An archive that answers every search with `found`, and every C-GET with the same instances."""

    def give(_: evt.Event) -> Iterator[Any]:
        yield len(gives)
        for instance in gives:
            yield 0xFF00, instance

    entity = AE(ae_title=TITLE)
    entity.add_supported_context(FIND)
    entity.add_supported_context(GET)
    entity.add_supported_context(ComputedRadiographyImageStorage, scu_role=True, scp_role=True)
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_FIND, found), (evt.EVT_C_GET, give)]
    )
    try:
        yield f"{TITLE}@127.0.0.1:{port}"
    finally:
        server.shutdown()
        entity.shutdown()


def listing(uid: str) -> Answers:
    """Finds one study of one series, both under the name `uid`."""

    def answers(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        if event.identifier.get("StudyDate") in {None, "", "20240131"}:
            entry = Dataset()
            entry.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
            with disable_value_validation():
                entry.StudyInstanceUID = entry.SeriesInstanceUID = uid
                yield 0xFF00, entry

    return answers


def out_of_resources(_: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
    yield 0xA700, None


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        (image(2), "an instance is of another study or series than was asked for"),
        (image(1, side=600), "an instance of more than"),
        (image(1, SeriesInstanceUID=study_uid(1), SOPInstanceUID="../../1"), "an instance has a SOPInstanceUID that"),
    ],
)
def test_study_that_is_lied_about_over_dimse_is_listed(
    import_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: Dataset, reason: str
) -> None:
    monkeypatch.setattr(landing, "MOST_INSTANCE_BYTES", 500_000)
    with lying_pacs(found=listing(study_uid(1)), gives=[instance]) as aet:
        ended = import_("--aet", aet)
    assert (ended.code, reason in ended.out) == (1, True), ended
    assert [path.name for path in tmp_path.iterdir()] == ["studies"]
    assert list(files_of(tmp_path / "studies")) == ["reports.csv"]
    assert ROOT not in ended.out + ended.err


def test_uid_with_a_path_over_dimse_is_never_asked_for(import_: Command, tmp_path: Path) -> None:
    with lying_pacs(found=listing("../../Rumpelstiltskin"), gives=[image(1)]) as aet:
        ended = import_("--aet", aet)
    assert (ended.code, "the archive names it by what is no UID" in ended.out) == (1, True), ended
    assert "Rumpel" not in ended.out + ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["studies"]


def test_search_that_fails_over_dimse_is_one_line(import_: Command) -> None:
    with lying_pacs(found=out_of_resources, gives=[]) as aet:
        ended = import_("--aet", aet)
    assert (ended.code, ended.line) == (1, "wardround: the archive did not end a search well (status 0xA700)")


def test_instance_that_nobody_asked_for_and_a_stranger_are_refused(tmp_path: Path) -> None:
    port = free_port()
    archive = MovingArchive(DimseAddress(title=TITLE, host="127.0.0.1", port=1, own_title=OWN_TITLE))
    with archive.listening(port):
        assert _push(port, calling=TITLE) == 0x0124
        assert _push(port, calling="STRANGER") is None
        with archive._receiver.into(Landing(tmp_path, "series")):
            assert _push(port, calling=TITLE) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["series-0"]


def _push(port: int, *, calling: str) -> int | None:
    """Send an instance to our port; its status, or None where we do not speak with who calls."""
    entity = AE(ae_title=calling)
    entity.add_requested_context(ComputedRadiographyImageStorage)
    association = entity.associate("127.0.0.1", port, ae_title=OWN_TITLE)
    if not association.is_established:
        return None
    status = association.send_c_store(image(1)).Status
    association.release()
    return int(status)
