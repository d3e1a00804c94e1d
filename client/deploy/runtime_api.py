"""The SuperNode's Runtime API, as `flower-superexec` and `flwr-clientapp` use it: tasks, their message, their reply.

Flower's own helpers that are left out on purpose, because the caller is a thread of a service: its retries send SIGINT
to their own process when the server says 401, its heartbeat does when a task is gone, and its version check ends the
process. Both ends are of one installation.

A bundle is bytes here. It is hashed, never opened, unpacked or imported, and the hash that the server claims is not
looked at.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.constant import SubStatus
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPushError,
    pull_and_inflate_object_from_tree,
    push_objects,
)
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from common.files import sha256_hex
from common.wire.objects import SOON

_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
_HEARTBEAT_SECONDS = 15.0
"""A task without a heartbeat for 60 s is given up by the SuperNode."""

_MESSAGE_SECONDS = 10.0
_RETRY_SECONDS = 0.01

_TYPES = (TaskType.CLIENT_APP, TaskType.AGENT_APP)
"""The second kind is not served here, but a SuperNode that got one waits for its reply for ever."""


class RuntimeApi:
    """Asks one life of the SuperNode for tasks.

    Args:
        address: Host and port on loopback.
        secret: What the SuperNode was started with.
    """

    def __init__(self, address: str, secret: bytes) -> None:
        self._address = address
        auth = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=(_ACQUIRE,))
        self._client = RuntimeHttpClient(f"http://{address}", interceptors=[auth])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def acquire(self) -> str | None:
        """The token of a task that waits, which is this caller's from now on.

        Raises:
            httpx.HTTPError: The SuperNode does not answer, or refuses.
        """
        reply = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=_TYPES))
        return reply.token if reply.HasField("task") and reply.token else None

    @contextmanager
    def open(self, token: str) -> Iterator[ClaimedTask]:
        """Lend a task that was acquired; a heartbeat keeps it until the block ends."""
        interceptors = [RuntimeTokenHttpInterceptor(token)]
        with RuntimeHttpClient(f"http://{self._address}", interceptors=interceptors) as client, _heartbeat(client):
            yield ClaimedTask(client)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a task asks, without its content.

    Attributes:
        bundle_hash: SHA-256 of the bundle's bytes, counted here.
        message: The message's identity; it has no content.
        node: This site, as the server numbers it.
        tree: What the message is made of.
    """

    bundle_hash: str
    message: Message
    node: Node
    tree: ObjectTree


class ClaimedTask:
    """A task that is this caller's.

    Each method raises `httpx.HTTPError` where the SuperNode does not answer or refuses; `pull` also what Flower raises
    of objects that are missing or malformed.
    """

    def __init__(self, client: RuntimeHttpClient) -> None:
        self._client = client

    def question(self) -> Question:
        """What it asks.

        Raises:
            TimeoutError: It asks nothing.
        """
        task = self._client.PullTaskInput(PullTaskInputRequest())
        bundle_hash, node = sha256_hex(task.fab.content), Node(node_id=task.context.node_id)
        del task
        # The SuperNode makes a task first, and stores its message a moment later.
        deadline = time.monotonic() + _MESSAGE_SECONDS
        while not (pulled := self._client.PullMessages(PullAppMessagesRequest())).messages_list:
            if time.monotonic() > deadline:
                raise TimeoutError("the SuperNode has made a task without a message")
            time.sleep(_RETRY_SECONDS)
        message = message_from_proto(pulled.messages_list[0])
        return Question(bundle_hash=bundle_hash, message=message, node=node, tree=pulled.message_object_trees[0])

    def pull(self, question: Question, *, within_seconds: float) -> Message:
        """The message with its content; the SuperNode drops its own copy."""
        run_id = question.message.metadata.run_id
        message = pull_and_inflate_object_from_tree(
            question.tree,
            make_pull_object_fn_protobuf(self._client.PullObject, question.node, run_id),
            make_confirm_message_received_fn_protobuf(self._client.ConfirmMessageReceived, question.node, run_id),
            return_type=Message,
            max_time=within_seconds,
            **SOON,  # the SuperNode makes a task before it has all of its message
        )
        message.metadata.__dict__["_message_id"] = question.tree.object_id  # as flwr-clientapp does: it is not inside
        return message

    def push(self, reply: Message, question: Question) -> bool:
        """Hand the reply over; whether it is wanted. Where the run has ended, the SuperNode drops it as it comes."""
        reply.metadata.__dict__["_message_id"] = reply.object_id
        shell = message_to_proto(remove_content_from_message(reply))
        with no_object_id_recompute():
            pushed = self._client.PushMessages(
                PushAppMessagesRequest(messages_list=[shell], message_object_trees=[get_object_tree(reply)])
            )
            push = make_push_object_fn_protobuf(
                self._client.PushObject,
                question.node,
                run_id=question.message.metadata.run_id,
                session_id=pushed.session_id,
            )
            try:
                push_objects(get_all_nested_objects(reply), push, object_ids_to_push=set(pushed.objects_to_push))
            except ObjectPushError:
                return False
        return True

    def finish(self, *, reason: str) -> None:
        """Give the task back.

        Args:
            reason: Reason code where it failed; "" where it did not.
        """
        status = SubStatus.FAILED if reason else SubStatus.COMPLETED
        self._client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=reason))


@contextmanager
def _heartbeat(client: RuntimeHttpClient) -> Iterator[None]:
    end = threading.Event()

    def beat() -> None:
        while not end.wait(_HEARTBEAT_SECONDS):
            try:
                client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
            except httpx.HTTPError:
                continue  # whether the task is lost shows when the reply is pushed

    thread = threading.Thread(target=beat, name="task-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
