"""An archive over DICOMweb that says what a test wants, and counts what it was asked for."""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset

from tests.client.pacs.archive_studies import DAY, encoded

BOUNDARY = b"between"


@dataclass(frozen=True)
class Said:
    """An answer.

    Attributes:
        body: In pieces; it may have no end.
        status: Of HTTP.
        kind: Its media type.
        headers: Further ones.
        length: What it says its length is; the sum of its pieces unless given; None is not said.
    """

    body: Sequence[bytes] | Iterator[bytes] = ()
    status: int = 200
    kind: str = "application/dicom+json"
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = -1


def listed(entries: Any) -> Said:
    """An answer to a search."""
    return Said([json.dumps(entries).encode()])


def sent(*instances: bytes, end: bytes = b"--") -> Said:
    """An answer to a retrieval; without its `end` it breaks off."""
    parts = [b"\r\n--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n" + one for one in instances]
    return Said([*parts, b"\r\n--" + BOUNDARY + end + b"\r\n"] if end else parts, kind=MULTIPART)


MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}'


def entry(**values: str) -> dict[str, Any]:
    """A study or series in the DICOM JSON model."""
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return dict(found.to_json_dict())


@dataclass
class LyingArchive:
    """A running archive of the instances that it was given, each study of one series.

    Attributes:
        url: Its address.
        instances: What it holds.
        lies: Answers in place of the true ones: by the last word of a path, or the path.
        asked: Paths, and how often each was asked for.
        headers: Of the last question.
    """

    url: str
    instances: list[Dataset] = field(default_factory=list)
    lies: dict[str, Said | Callable[[], Said]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, path: str, query: dict[str, list[str]]) -> Said:
        """The answer to a question."""
        self.asked[path] += 1
        lie = self.lies.get(path, self.lies.get(path.rpartition("/")[2]))
        if lie is not None:
            return lie if isinstance(lie, Said) else lie()
        words = path.strip("/").split("/")
        mine = [one for one in self.instances if len(words) < 2 or one.StudyInstanceUID == words[1]]
        if path == "/studies":
            wanted = query["StudyDate"][0] == DAY and query["offset"][0] == "0"
            uids = dict.fromkeys(one.StudyInstanceUID for one in mine)
            return listed([entry(StudyInstanceUID=uid) for uid in uids] if wanted else [])
        if words[-1] == "series":
            return listed(
                [entry(SeriesInstanceUID=uid) for uid in dict.fromkeys(one.SeriesInstanceUID for one in mine)]
            )
        return sent(*(encoded(one) for one in mine if one.SeriesInstanceUID == words[-1]))


@contextmanager
def lying_archive(*, context: ssl.SSLContext | None = None) -> Iterator[LyingArchive]:
    """One on a free port of loopback, for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            found.headers = dict(self.headers)
            said = found.answer(parts.path, parse_qs(parts.query))
            self.send_response(said.status)
            self.send_header("Content-Type", said.kind)
            for name, value in said.headers:
                self.send_header(name, value)
            if said.length is not None:
                body = list(said.body)
                self.send_header("Content-Length", str(sum(map(len, body)) if said.length < 0 else said.length))
                said = Said(body)
            self.end_headers()
            try:
                for piece in said.body:
                    self.wfile.write(piece)
            except OSError:  # whoever asked has gone
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        found = LyingArchive(f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
