"""A real archive, and the command in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pynetdicom.transport import AssociationSocket

import wardround
from client.data.dicom import dicom
from client.pacs import pace
from common.types import StudyRecord
from tests.client.pacs import orthanc as archives
from tests.client.pacs.orthanc import Orthanc


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The only line of standard error."""
        (line,) = self.err.strip().splitlines()
        return line


Command = Callable[..., Ended]


@pytest.fixture(scope="session", autouse=True)
def sockets_are_closed() -> Iterator[None]:
    """Pynetdicom 3.0 leaves a socket to the garbage collector where its peer was gone before `shutdown`."""
    left_open = AssociationSocket._shutdown_socket

    def closed(transport: AssociationSocket) -> None:
        left_open(transport)
        if transport.socket is not None:
            transport.socket.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssociationSocket, "_shutdown_socket", closed)
        yield


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that all tests of a process share; `orthanc` empties it."""
    if (reason := archives.why_not()) is not None:
        pytest.skip(reason)
    with archives.running(tmp_path_factory.mktemp("archive")) as found:
        yield found


@pytest.fixture
def orthanc(archive: Orthanc) -> Orthanc:
    """An empty Orthanc."""
    archive.clear()
    return archive


@pytest.fixture
def import_(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> Command:
    """Runs the command on `tmp_path/studies`, for the days of the tests' studies, without waits; it logs nothing."""
    monkeypatch.setattr(pace, "WAITS_SECONDS", (0.0, 0.0))

    def run(*arguments: str | Path) -> Ended:
        line = ["wardround", "site", "import", "--since", "2024-01-30", "--until", "2024-02-01"]
        line += ["--out", str(tmp_path / "studies"), "--per-minute", "60000", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            wardround.main()
        out, err = capsys.readouterr()
        assert not caplog.text
        return Ended(int(ended.value.code or 0), out, err)

    return run


def records(folder: Path) -> list[StudyRecord]:
    """What the adapter reads in a folder, where all of it can be read."""
    found = list(dicom(folder, allow_burned_in=False).records())
    bad = [item for item in found if not isinstance(item, StudyRecord)]
    assert not bad
    return [item for item in found if isinstance(item, StudyRecord)]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file that is not the import's own, and its content."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".import" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
