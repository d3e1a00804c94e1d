"""Flower's own Runtime API with its own state, served in this process: a SuperNode without a server behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import uvicorn
from flwr.app import Context, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents, iterate_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from client.deploy.supernode_main import free_port
from tests.client.deploy.test_message_bytes import message_of

SECRET = b"secret of a test"
RUN, NODE = 7, 9


@dataclass(frozen=True)
class Runtime:
    """A SuperNode's state, and where its API is."""

    address: str
    state: InMemoryNodeState

    def put(self, content: RecordDict, *, bundle: bytes = b"", kind: TaskType = TaskType.CLIENT_APP) -> Message:
        """A message that has come; the bundle's hash is a lie, as a server may tell it."""
        run = Run.create_empty(RUN)
        run.fab_hash = "lie"
        run.series_id = 5
        self.state.set_node_id(NODE)
        self.state.store_run(run)
        self.state.fab_store["lie"] = Fab("lie", bundle, {})  # store_fab would look
        context = Context(run_id=RUN, node_id=NODE, node_config={}, state=RecordDict(), run_config={}, series_id=5)
        self.state.set_run_series_context(5, context)
        message = message_of(content, run_id=RUN, node_id=NODE, task_id=None)
        message.metadata.created_at = time.time()
        message.metadata.__dict__["_message_id"] = message.object_id
        self.state.create_task(task_type=kind, run_id=RUN, fab_hash="lie")
        self.state.object_store.preregister(RUN, get_object_tree(message))
        for object_id, each in get_all_nested_objects(message).items():
            self.state.object_store.put(object_id, each.deflate())
        self.state.store_message(remove_content_from_message(message))
        return message

    def reply(self, *, within_seconds: float = 10) -> Message:
        """What would be sent to the server."""
        deadline = time.monotonic() + within_seconds
        while not (shells := self.state.get_messages_legacy(is_reply=True)):
            assert time.monotonic() < deadline, "no reply"
            time.sleep(0.01)
        message_id = shells[0].metadata.message_id
        tree = self.state.object_store.get_object_tree(message_id)
        contents: dict[str, bytes] = {}
        for each in iterate_object_tree(tree):
            while not (content := self.state.object_store.get(each.object_id)):
                assert time.monotonic() < deadline, "a part of the reply is missing"
                time.sleep(0.01)
            contents[each.object_id] = content
        return cast(Message, inflate_object_from_contents(message_id, contents))

    def statuses(self) -> list[tuple[str, str, str]]:
        """Each task's status, and what was said of it."""
        tasks = self.state.get_tasks()
        return [(task.status.status, task.status.sub_status, task.status.details) for task in tasks]


@contextmanager
def runtime() -> Iterator[Runtime]:
    """Serve one."""
    factory = NodeStateFactory(objectstore_factory=ObjectStoreFactory())
    port = free_port()
    app = create_app(state_factory=factory, superexec_auth_secret=SECRET)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, ws="none", log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Runtime(f"127.0.0.1:{port}", cast(InMemoryNodeState, factory.state()))
    finally:
        server.should_exit = True
        thread.join(10)
