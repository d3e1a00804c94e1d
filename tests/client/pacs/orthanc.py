"""A real archive for tests: Orthanc with its DICOMweb plugin, on free ports of loopback, with a folder of its own.

Debian packages `orthanc` and `orthanc-dicomweb`. It calls nobody but us.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from pydicom import Dataset

from tests.client.pacs.archive_studies import encoded
from tests.common.service.ports import free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "importer", "pass:word"
TITLE, OWN_TITLE = "ARCHIVE", "WARDROUND"


@dataclass(frozen=True)
class Orthanc:
    """A running archive."""

    http_port: int
    dicom_port: int
    listen_port: int
    """Where its C-MOVE to `OWN_TITLE` goes."""

    @property
    def url(self) -> str:
        """Its DICOMweb."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def aet(self) -> str:
        """As the command line has it."""
        return f"{TITLE}@127.0.0.1:{self.dicom_port}"

    def store(self, *instances: Dataset) -> None:
        """Put instances in."""
        for instance in instances:
            self._ask("POST", "instances", data=encoded(instance)).raise_for_status()

    def clear(self) -> None:
        """Take all out."""
        for study in self._ask("GET", "studies").json():
            self._ask("DELETE", f"studies/{study}").raise_for_status()

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            return self._ask("GET", "system").ok
        except requests.ConnectionError:
            return False

    def _ask(self, method: str, path: str, data: bytes | None = None) -> requests.Response:
        url = f"http://127.0.0.1:{self.http_port}/{path}"
        return requests.request(method, url, data=data, auth=(USER, PASSWORD), timeout=20)


def why_not() -> str | None:
    """Why there can be no Orthanc here, or None."""
    if shutil.which("Orthanc") is None or not PLUGIN.exists():
        return "needs Orthanc and its DICOMweb plugin: apt-get install orthanc orthanc-dicomweb"
    return None


@contextmanager
def running(folder: Path, *, offers_get: bool = True) -> Iterator[Orthanc]:
    """An empty Orthanc, for the block."""
    found = Orthanc(free_port(), free_port(), free_port())
    settings = {
        "Name": "archive",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": found.http_port,
        "DicomPort": found.dicom_port,
        "DicomAet": TITLE,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DicomModalities": {
            "us": {"AET": OWN_TITLE, "Host": "127.0.0.1", "Port": found.listen_port, "AllowGet": offers_get}
        },
        "SynchronousCMove": True,
        "SaveJobs": False,
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(path)], stdout=log, stderr=log, cwd=folder)
        try:
            ends = time.monotonic() + 30
            while not found.is_up():
                if process.poll() is not None or time.monotonic() > ends:
                    raise RuntimeError((folder / "orthanc.log").read_text(encoding="utf-8"))
                time.sleep(0.05)
            yield found
        finally:
            process.kill()  # its folder goes with it; its own end takes three seconds
            process.wait()
