"""Metrics: what Prometheus reads, on loopback and under one path alone."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Iterable

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from common.errors import ConfigError
from common.service.metrics import Source, counter, counters, gauge, gauges, metrics_served, of_children
from tests.common.service.ports import free_port, taken_port


def some() -> Iterable[Metric]:
    yield gauge("ready", "Whether all is ready.", 1.0)
    yield gauges("epsilon_spent", "Epsilon spent.", "cohort", {"training": 2.5, "held-out": float("inf")})
    yield counter("messages_answered", "Messages answered.", 7)
    yield counters("messages_refused", "Messages refused.", "reason", {'a"b\\c\nd': 1})


def ask(port: int, method: str = "GET", path: str = "/metrics") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.headers["Content-Type"], answer.read().decode()
    connection.close()
    return found


def scraped(source: Source) -> dict[tuple[str, tuple[str, ...]], float]:
    port = free_port()
    with metrics_served(source, port=port):
        _, _, page = ask(port)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_scrape_reads_back_as_it_was_measured() -> None:
    assert scraped(some) == {
        ("wardround_ready", ()): 1.0,
        ("wardround_epsilon_spent", ("training",)): 2.5,
        ("wardround_epsilon_spent", ("held-out",)): float("inf"),
        ("wardround_messages_answered_total", ()): 7.0,
        ("wardround_messages_refused_total", ('a"b\\c\nd',)): 1.0,
    }


def test_scrape_is_text_format_0_0_4_and_its_source_is_asked_each_time() -> None:
    values = iter([1.0, 2.0])
    port = free_port()
    with metrics_served(lambda: [gauge("x", "X.", next(values))], port=port):
        pages = [ask(port) for _ in range(2)]
    assert [page[:2] for page in pages] == [(200, "text/plain; version=0.0.4; charset=utf-8")] * 2
    assert [page[2].splitlines()[-1] for page in pages] == ["wardround_x 1.0", "wardround_x 2.0"]
    assert pages[0][2].splitlines()[:2] == ["# HELP wardround_x X.", "# TYPE wardround_x gauge"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/metrics?name=x", 404),
        ("POST", "/metrics", 501),
        ("HEAD", "/metrics", 501),
        ("DELETE", "/metrics", 501),
    ],
)
def test_nothing_else_is_served(method: str, path: str, status: int) -> None:
    port = free_port()
    with metrics_served(some, port=port):
        assert ask(port, method, path)[0] == status


def test_metrics_are_on_loopback_alone() -> None:
    port = free_port()
    with metrics_served(some, port=port), socket.socket() as other:
        other.bind(("127.0.0.2", port))  # fails where something listens on every address
        other.listen()


def test_error_of_a_source_is_one_empty_answer_and_one_entry_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterable[Metric]:
        raise ValueError("patient-name John Doe")

    port = free_port()
    with metrics_served(broken, port=port), caplog.at_level(logging.ERROR, "wardround.metrics"):
        assert ask(port)[::2] == (500, "")
        assert ask(port)[0] == 500, "it goes on"
    assert [record.name for record in caplog.records] == ["wardround.metrics"] * 2


def test_source_is_asked_by_one_thread_at_a_time() -> None:
    inside, most = 0, 0
    together = threading.Barrier(4)

    def counting() -> Iterable[Metric]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.05)
        inside -= 1
        return [gauge("x", "X.", 1)]

    def client(port: int) -> None:
        together.wait()
        ask(port)

    port = free_port()
    with metrics_served(counting, port=port):
        threads = [threading.Thread(target=client, args=(port,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 1


def test_client_that_says_nothing_keeps_nobody_waiting() -> None:
    port = free_port()
    with metrics_served(some, port=port), socket.create_connection(("127.0.0.1", port)):
        assert ask(port)[0] == 200


def test_taken_port_is_one_clear_error() -> None:
    with (
        taken_port() as port,
        pytest.raises(
            ConfigError, match=rf"metrics_port={port}: cannot be listened on \(Address already in use\); give"
        ),
        metrics_served(some, port=port),
    ):
        pass


def test_port_0_serves_nothing() -> None:
    def never() -> Iterable[Metric]:
        raise AssertionError

    before = threading.active_count()
    with metrics_served(never, port=0):
        assert threading.active_count() == before


def test_port_is_free_again_after_the_block() -> None:
    port = free_port()
    for _ in range(2):
        with metrics_served(some, port=port):
            assert ask(port)[0] == 200


def test_children_are_up_or_not_and_count_their_restarts() -> None:
    def source() -> Iterable[Metric]:
        return of_children(
            {
                "worker": {"pid": 7, "restarts": 0, "up_seconds": 1.0},
                "supernode": {"pid": None, "restarts": 3, "up_seconds": None},
            }
        )

    found = scraped(source)
    assert found["wardround_child_up", ("worker",)] == 1
    assert found["wardround_child_up", ("supernode",)] == 0
    assert found["wardround_child_restarts_total", ("supernode",)] == 3
