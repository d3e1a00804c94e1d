"""A completed run's channel kept open for searching: what `wardround server search` asks for.

The hospitals approved the run's bundle, and by that channel they are asked. It stays open until it is closed, or until
another run is wanted: hospitals answer one message at a time, and training goes first. It opens again afterwards, as
it does at once where the server's certificate was rotated: the port would go on to show the old one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from common.files import sha256_of_file
from server.app import GridTransport
from server.deploy.gate import Bounds
from server.deploy.installation import SERVER_FILE, Installation
from server.deploy.listeners import Listener, bind, tls_config
from server.deploy.runs import SEARCH_OPENED, RunFolder, Wanted, all_runs
from server.search.counter import Counter, Members
from server.search.session import serve_questions
from server.transport import Wait

BOUNDS = Bounds(open=64, open_of_one=16, greeting=32, greeting_of_one=8)
MEETING_SECONDS = 10.0
"""How long hospitals are waited for before the channel is said to be open; who comes later is asked from then on."""

_STOP_SECONDS = 5.0


def keep_open(run: RunFolder, installation: Installation, transport: GridTransport, *, members: Members) -> None:
    """Pass questions on by the channel of a run, as long as that is wanted.

    Raises:
        ConfigError: The port is taken.
    """
    counter, wanted = Counter(members), len(members())
    certificate = installation.folder / SERVER_FILE
    shown = sha256_of_file(certificate)
    transport.meet(Wait(wanted=wanted, needed=0, deadline_seconds=MEETING_SECONDS))
    with _listening(counter, port=installation.config.search_port, certificate=certificate):
        run.note(SEARCH_OPENED, port=installation.config.search_port)
        serve_questions(
            counter,
            transport,
            members=members,
            key=installation.signing_key,
            deadline_seconds=installation.config.search_seconds,
            ended=lambda: _is_over(run, installation.folder) or sha256_of_file(certificate) != shown,
        )


def _is_over(run: RunFolder, folder: Path) -> bool:
    return run.wanted is not Wanted.SEARCH or any(other.outcome is None for other in all_runs(folder))


@contextmanager
def _listening(counter: Counter, *, port: int, certificate: Path) -> Iterator[None]:
    config: uvicorn.Config = tls_config(
        counter.application(), certificate=certificate, lifespan="off", most_open=BOUNDS.open
    )
    listener = Listener(config, bind("", port), bounds=BOUNDS)
    thread = threading.Thread(
        target=lambda: asyncio.run(listener.serve(sockets=[listener.listening])), name="search", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        counter.close()
        listener.should_exit = True
        thread.join(_STOP_SECONDS)
