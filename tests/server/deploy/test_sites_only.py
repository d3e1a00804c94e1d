"""The filter before the sites: what is passed on is a list; spelling, size and slowness get nobody past it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.deploy.sites_only import FLEET_PATHS, Event, Receive, Scope, Send, SitesOnly

PATHS = sorted(FLEET_PATHS)
CLOSED = [
    "/",
    "/docs",
    "/openapi.json",
    "/v1/control/start-run",
    "/v1/control/list-nodes",
    "/v1/runtime/acquire-task",
    "/v1/runtime/responses",
    "/v1/fleet/register-node",
    "/v1/fleet/unregister-node",
    "/v1/fleet",
    "/v1/fleet/",
]


class Flower:
    """Stands behind the filter, and answers 200 to what reaches it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Take a request."""
        event = await receive()
        assert not event["more_body"]
        self.bodies.append(event["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"reached"})


def asked(
    path: str,
    *,
    method: str = "POST",
    chunks: Sequence[bytes | float] = (b"",),
    raw_path: bytes | None = None,
    kind: str = "http",
    **limits: Any,
) -> tuple[list[Event], Flower]:
    """What comes back of a request, and what stood behind. A number among the chunks is a pause, in seconds."""
    flower, sent = Flower(), list[Event]()
    scope = {"type": kind, "method": method, "path": path, "raw_path": path.encode() if raw_path is None else raw_path}
    coming = list(chunks)

    async def receive() -> Event:
        while coming and isinstance(coming[0], float):
            await asyncio.sleep(coming.pop(0))
        body = coming.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(coming)}

    async def send(event: Event) -> None:
        sent.append(event)

    asyncio.run(SitesOnly(flower, **limits)(scope, receive, send))
    return sent, flower


def status(path: str, **attributes: Any) -> int:
    sent, _ = asked(path, **attributes)
    return int(sent[0]["status"])


@pytest.mark.parametrize("path", PATHS)
def test_path_of_a_node_is_passed_on_with_its_body(path: str) -> None:
    sent, flower = asked(path, chunks=[b"one", b"two"])
    assert sent[0]["status"] == 200
    assert flower.bodies == [b"onetwo"]


def test_health_is_passed_on_for_get_alone() -> None:
    assert status("/health", method="GET") == 200
    assert {status("/health", method=method) for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD")} == {404}


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_all_else_is_404_without_a_body(path: str, method: str) -> None:
    sent, flower = asked(path, method=method)
    assert (sent[0]["status"], sent[1]["body"], flower.bodies) == (404, b"", [])
    assert dict(sent[0]["headers"])[b"content-length"] == b"0"


@given(st.text(), st.sampled_from(["GET", "POST", "PATCH", "get", "post", ""]))
def test_path_that_is_not_in_the_list_never_gets_through(path: str, method: str) -> None:
    expected = 200 if (method, path) == ("GET", "/health") or (method == "POST" and path in PATHS) else 404
    assert status(path, method=method, raw_path=path.encode("utf-8", "surrogatepass")) == expected


@given(st.sampled_from(PATHS), st.data())
def test_respelled_path_never_gets_through(path: str, data: st.DataObject) -> None:
    """Written otherwise than in the list, although a server may read it as the same."""
    at = data.draw(st.integers(0, len(path) - 1))
    trick = data.draw(
        st.sampled_from(
            [
                path[:at] + "/" + path[at:],
                path[:at] + "//" + path[at:],
                path[:at] + "/./" + path[at:],
                path[:at] + "/../" + path[at:],
                "/v1/control/.." + path.removeprefix("/v1"),
                path[:at] + path[at].swapcase() + path[at + 1 :],
                path + "/",
                path + ";x",
                path + "?x",
                path + "#x",
                path + "\0",
                " " + path,
            ]
        )
    )
    assert trick in {path} or status(trick) == 404


@given(st.sampled_from(PATHS), st.data())
def test_encoded_path_never_gets_through_although_it_decodes_to_an_open_one(path: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(path) - 1))
    raw = path[:at] + f"%{ord(path[at]):02x}" + path[at + 1 :]
    assert status(path, raw_path=raw.encode()) == 404
    assert status("/health", method="GET", raw_path=quote("/health", safe="").encode()) == 404


def test_mounted_application_is_not_taken_for_an_open_path() -> None:
    flower = Flower()
    sent: list[Event] = []

    async def send(event: Event) -> None:
        sent.append(event)

    async def receive() -> Event:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/health", "raw_path": b"/health", "root_path": "/v1/control"}
    asyncio.run(SitesOnly(flower)(scope, receive, send))
    assert sent[0]["status"] == 404


def test_websocket_is_closed_and_a_lifespan_is_not_started() -> None:
    sent, flower = asked(PATHS[0], kind="websocket")
    assert ([event["type"] for event in sent], flower.bodies) == (["websocket.close"], [])
    sent, flower = asked(PATHS[0], kind="lifespan")
    assert (sent, flower.bodies) == ([], [])


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=6))
def test_body_is_passed_on_whole_or_refused_as_too_long(chunks: list[bytes]) -> None:
    sent, flower = asked(PATHS[0], chunks=chunks, most_body_bytes=10)
    whole = b"".join(chunks)
    fits = len(whole) <= 10
    assert sent[0]["status"] == (200 if fits else 413)
    assert flower.bodies == ([whole] if fits else [])


def test_body_that_does_not_end_in_time_is_refused() -> None:
    sent, flower = asked(PATHS[0], chunks=[b"a", 0.5, b"b"], body_seconds=0.05)
    assert (sent[0]["status"], flower.bodies) == (408, [])
    assert status(PATHS[0], chunks=[b"a", 0.01, b"b"], body_seconds=5.0) == 200
