"""Metrics of a service, for Prometheus: `GET /metrics` on 127.0.0.1, in the text format 0.0.4, and nothing else.

What is measured is asked for when it is scraped, in a thread of this module's own. Nothing of it names or counts
patients: whoever has an account on the machine may read it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from common.errors import ConfigError
from common.service.ports import LOOPBACK, OFF
from common.service.supervisor import ChildStatus

PATH = "/metrics"

_REQUEST_SECONDS = 5.0
_POLL_SECONDS = 0.1
_log = logging.getLogger("wardround.metrics")

Source = Callable[[], Iterable[Metric]]
"""What is measured, now; called from one thread at a time, which is not the main one."""


@contextmanager
def metrics_served(source: Source, *, port: int) -> Iterator[None]:
    """Serve metrics for the block; nothing where the port is 0.

    Args:
        source: What is measured.
        port: On 127.0.0.1.

    Raises:
        ConfigError: The port cannot be had.
    """
    if port == OFF:
        yield
        return
    with _listening(port, _Registered(source)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def gauge(name: str, what: str, value: float) -> Metric:
    """One number that goes up and down."""
    return GaugeMetricFamily(f"wardround_{name}", what, value=value)


def gauges(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    """Such a number for each value of a label."""
    family = GaugeMetricFamily(f"wardround_{name}", what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def counter(name: str, what: str, value: float) -> Metric:
    """One number that goes up; its name gets `_total`."""
    return CounterMetricFamily(f"wardround_{name}", what, value=value)


def counters(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    """Such a number for each value of a label."""
    family = CounterMetricFamily(f"wardround_{name}", what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def of_children(status: Mapping[str, ChildStatus]) -> Iterator[Metric]:
    """What every supervisor knows of its children."""
    up = {name: float(child["pid"] is not None) for name, child in status.items()}
    restarts = {name: child["restarts"] for name, child in status.items()}
    yield gauges("child_up", "Whether a supervised process runs.", "child", up)
    yield counters("child_restarts", "Times that a supervised process was started again.", "child", restarts)


class _Registered(Collector):
    """A source as the library takes it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._alone = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        with self._alone:
            return list(self._source())


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = _REQUEST_SECONDS

    def __init__(self, collector: Collector, *arguments: Any) -> None:  # noqa: ANN401 - what the server hands over
        self._collector = collector
        super().__init__(*arguments)  # which answers

    def do_GET(self) -> None:
        """Answer a scrape."""
        if self.path != PATH:
            self._answer(HTTPStatus.NOT_FOUND)
            return
        try:
            page = generate_latest(self._collector)
        except Exception:
            # One scrape is missing, which Prometheus shows; the service goes on, and the caller learns nothing.
            _log.exception("the metrics could not be read")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self._answer(HTTPStatus.OK, page)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002, ANN401 - the server's signature
        """Say nothing of each request."""

    def _answer(self, status: HTTPStatus, page: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


def _listening(port: int, collector: Collector) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer((LOOPBACK, port), partial(_Handler, collector))
    except OSError as error:
        raise ConfigError(
            f"metrics_port={port}: cannot be listened on ({error.strerror}); give another port, or 0 for no metrics"
        ) from error
