"""The standard health protocol of gRPC (`grpc.health.v1`) on 127.0.0.1, for a service manager or a monitor.

The service "" is the whole; each supervised process is a service of its own name. SERVING is what takes part now,
NOT_SERVING what starts, waits to be started again, or is ending; a name that nobody knows is answered NOT_FOUND.

Specification: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from common.errors import ConfigError
from common.service.ports import LOOPBACK, OFF
from common.service.supervisor import ChildStatus

WHOLE = ""
"""Name of the service that stands for all of it."""

LOOK_SECONDS = 0.5
"""How often health is looked at."""

_THREADS = 4
_GRACE_SECONDS = 0.5
_OPTIONS = (("grpc.so_reuseport", 0),)
"""Or a second service would listen on the same port, and each question would go to one of both."""
_log = logging.getLogger("wardround.health")

Look = Callable[[], Mapping[str, bool]]
"""Which services serve now; called from a thread of its own."""


@contextmanager
def health_served(look: Look, *, port: int) -> Iterator[None]:
    """Answer health checks for the block; nothing where the port is 0.

    Args:
        look: Which services serve now.
        port: On 127.0.0.1.

    Raises:
        ConfigError: The port cannot be had.
    """
    if port == OFF:
        yield
        return
    servicer = health.HealthServicer()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="health") as pool:
        server = _listening(port, servicer, pool)
        end = threading.Event()
        looking = threading.Thread(target=_keep_looking, args=(look, servicer, end), name="health", daemon=True)
        server.start()
        looking.start()
        try:
            yield
        finally:
            end.set()
            looking.join()
            servicer.enter_graceful_shutdown()
            server.stop(_GRACE_SECONDS).wait()


def services_of(*, is_ready: bool, children: Mapping[str, ChildStatus]) -> dict[str, bool]:
    """Which services of a supervised whole serve."""
    return {WHOLE: is_ready} | {name: child["pid"] is not None for name, child in children.items()}


def _keep_looking(look: Look, servicer: health.HealthServicer, end: threading.Event) -> None:
    told: dict[str, bool] = {}
    while not end.is_set():
        now = _look(look)
        for name, serves in now.items():
            if told.get(name) != serves:
                servicer.set(name, _STATUS[serves])
        told = now
        end.wait(LOOK_SECONDS)


def _look(look: Look) -> dict[str, bool]:
    try:
        return dict(look())
    except Exception:
        # What cannot be seen does not serve; the next look may see it.
        _log.exception("the health could not be looked at")
        return {WHOLE: False}


_STATUS = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


def _listening(port: int, servicer: health.HealthServicer, pool: ThreadPoolExecutor) -> grpc.Server:
    server = grpc.server(pool, options=_OPTIONS)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    try:
        server.add_insecure_port(f"{LOOPBACK}:{port}")
    except RuntimeError as error:
        raise ConfigError(
            f"health_port={port}: cannot be listened on; give another port, or 0 for no health checks"
        ) from error
    return server
