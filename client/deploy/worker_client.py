"""The relay's end of the worker's socket. A connection lasts for one question, so that a worker may die at any time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from flwr.app import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client.deploy.message_bytes import decode_message, encode_request
from client.deploy.worker import METHOD, SERVICE, UNLIMITED
from common.errors import AdmissionError, WardroundError

_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)
_HEALTH_SECONDS = 0.2


class WorkerGone(WardroundError):
    """The worker did not answer: it died, does not start, or took too long."""

    reason = "worker"


@dataclass(frozen=True, kw_only=True)
class WorkerClient:
    """Asks the worker.

    Attributes:
        socket: Where it listens.
        patience_seconds: How long a message waits for a worker that is starting; it loads torch and a hospital's
            features.
    """

    socket: Path
    patience_seconds: float = 60.0

    def ask(self, bundle_hash: str, message: Message, *, within_seconds: float) -> Message:
        """The worker's reply.

        Raises:
            WorkerGone: There is none.
        """
        deadline = time.monotonic() + within_seconds
        with self._channel() as channel:
            if not _is_serving(channel, within_seconds=min(self.patience_seconds, within_seconds)):
                raise WorkerGone("the worker does not start")
            answer = channel.unary_unary(f"/{SERVICE}/{METHOD}")
            try:
                content = answer(encode_request(bundle_hash, message), timeout=max(0.0, deadline - time.monotonic()))
            except grpc.RpcError as error:
                # Its details are not told: what gRPC says of a handler's exception is the exception's own text.
                raise WorkerGone(f"the worker did not answer ({error.code().name})") from None
        try:
            return decode_message(content)
        except AdmissionError as error:
            raise WorkerGone("the worker's answer is no message") from error

    def is_healthy(self) -> bool:
        """Whether the worker takes messages."""
        with self._channel() as channel:
            return _is_serving(channel, within_seconds=_HEALTH_SECONDS)

    @contextmanager
    def _channel(self) -> Iterator[grpc.Channel]:
        with grpc.insecure_channel(f"unix:{self.socket}", options=(*UNLIMITED, *_RECONNECT)) as channel:
            yield channel


def _is_serving(channel: grpc.Channel, *, within_seconds: float) -> bool:
    """Whether the worker serves, or comes to within this time.

    `grpc.channel_ready_future` would tell the same 0.2 s later: it polls.
    """
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    try:
        reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=within_seconds, wait_for_ready=True)
    except grpc.RpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
