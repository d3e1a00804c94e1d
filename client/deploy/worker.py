"""The worker's ear: a gRPC service on a Unix socket that the site's own user alone can open.

`wardround.Worker/Answer` takes and gives bytes (`client/deploy/message_bytes.py`); beside it `grpc.health.v1`. Nothing
here knows what a message is answered with, and nothing imports torch.

- One message at a time, in the thread that called `serve`: a ledger's connection and torch's settings belong to one
  thread. Health is answered meanwhile.
- Between messages the same thread does a piece of other work where there is some: a message waits for one at most.
- A caller that has gone while its message waited is not answered.
- An exception of the handler leaves as a reason code; its text goes to the log, which stays at the site.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import grpc
from flwr.app import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from client.deploy.message_bytes import RAISED, decode_request, encode_message, error_reply, without_text
from common.errors import AdmissionError, ConfigError, WardroundError

Handle = Callable[[str, Message], Message]
"""Answers a message of the bundle with this SHA-256, in hexadecimal."""

SERVICE = "wardround.Worker"
METHOD = "Answer"
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
"""A model is larger than the 4 MiB that gRPC allows unless it is told."""

_LONGEST_PATH_BYTES = 100
_POLL_SECONDS = 0.2
_THREADS = 4
_log = logging.getLogger("wardround.worker")


@dataclass(frozen=True)
class _Call:
    """A message that waits for the thread that answers."""

    request: bytes
    caller_waits: Callable[[], bool]
    reply: Future[bytes]


def nothing_else() -> bool:
    """The work of a worker that has none beside its messages."""
    return False


def serve(handle: Handle, socket: Path, *, ended: Callable[[], bool], work: Callable[[], bool] = nothing_else) -> None:
    """Answer messages in this thread until `ended` says so.

    Args:
        handle: What answers a message.
        socket: Where to listen; what lies there is taken away.
        ended: Asked a few times a second, except while a message is answered.
        work: Does a piece of other work, of a second or two, and says whether there is more to do at once.

    Raises:
        ConfigError: The socket's path is too long, or nothing can be made there.
    """
    calls: SimpleQueue[_Call] = SimpleQueue()
    server = grpc.server(ThreadPoolExecutor(_THREADS, thread_name_prefix="worker-grpc"), options=UNLIMITED)
    server.add_generic_rpc_handlers((_answers(calls),))
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    bind_privately(server, socket)
    server.start()
    for service in ("", SERVICE):
        state.set(service, health_pb2.HealthCheckResponse.SERVING)
    try:
        more = False
        while not ended():
            for call in _next_call(calls, within_seconds=0.0 if more else _POLL_SECONDS):
                _answer(handle, call)
            more = work()
    finally:
        state.enter_graceful_shutdown()
        stopped = server.stop(grace=0)
        while not stopped.wait(_POLL_SECONDS):
            for call in _next_call(calls, within_seconds=_POLL_SECONDS):  # it would wait for ever
                call.reply.cancel()
        socket.unlink(missing_ok=True)


def bind_privately(server: grpc.Server, socket: Path) -> None:
    """Let a server listen on a socket of mode 0600 in a folder of mode 0700; no one else can open it at any moment.

    Raises:
        ConfigError: The socket's path is too long, or nothing can be made there.
    """
    if len(os.fsencode(socket)) > _LONGEST_PATH_BYTES:
        raise ConfigError(f"{socket}: is too long for a socket; give site.yaml a state_folder with a shorter path")
    try:
        socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        socket.parent.chmod(0o700)
        socket.unlink(missing_ok=True)
        with _umask(0o177):
            server.add_insecure_port(f"unix:{socket}")
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{socket}: no socket can be made there ({error}); mend the rights of its folder") from error


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _answers(calls: SimpleQueue[_Call]) -> grpc.GenericRpcHandler:
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        call = _Call(request, context.is_active, Future())
        del request
        calls.put(call)
        try:
            return call.reply.result()
        except AdmissionError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a message")
            raise

    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.unary_unary_rpc_method_handler(answer)})


def _next_call(calls: SimpleQueue[_Call], *, within_seconds: float) -> Iterator[_Call]:
    """The next message that someone waits for, if there is one soon."""
    try:
        call = calls.get(timeout=within_seconds) if within_seconds else calls.get_nowait()
    except Empty:
        return
    if call.caller_waits():
        yield call
    else:
        call.reply.cancel()


def _answer(handle: Handle, call: _Call) -> None:
    try:
        bundle_hash, message = decode_request(call.request)
    except AdmissionError as error:
        _log.exception("bytes that are no message")
        call.reply.set_exception(error)
        return
    call.reply.set_result(encode_message(_reply(handle, bundle_hash, message)))


def _reply(handle: Handle, bundle_hash: str, message: Message) -> Message:
    try:
        return without_text(handle(bundle_hash, message), message)
    except WardroundError as error:
        _log.error("refused: %s", error)
        return error_reply(message, error.reason)
    except Exception:
        _log.exception("failed; the server is told only that this site failed")
        return error_reply(message, RAISED)
