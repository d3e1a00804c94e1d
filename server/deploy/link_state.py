"""What the SuperLink knows of nodes and messages, with the patience that a hospital's line asks for.

Flower 1.41 gives a node up that has said nothing for 60 s, with the question that it is working on. It hands a question
out once, and takes each part of a reply once: where the answer to such a call is lost, so is the round. It gives a
reply to the run as soon as it is announced; the run then waits for its parts, and so do the replies of all others, past
the end of the round. And it forgets an upload to which nothing was added for 180 s. Here:

| | |
| --- | --- |
| a silent node | is there for `SILENT_SECONDS` from its last word, and so is its upload |
| a question | is handed out again until the node has said that it has all of it |
| a reply | is there when all of its parts are |
| a part | may be sent again: the answer to the first time may be lost |

How long a question lives stays as it is: until the deadline of its round.
"""

from __future__ import annotations

from datetime import timedelta

from flwr.app import Message
from flwr.common.constant import HEARTBEAT_PATIENCE
from flwr.server.superlink.linkstate import InMemoryLinkState, linkstate_factory
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.object_store import NoObjectInStoreError

SILENT_SECONDS = 240.0
"""How long a node may say nothing: a line that is down for two minutes, and what both sides take to find that out
before and after: a call of 30 s, a wait of 20 s, and a heartbeat every 22 s."""


class PatientLinkState(InMemoryLinkState):
    """Flower's state in memory, patient."""

    def activate_node(self, node_id: int, heartbeat_interval: float) -> bool:  # noqa: ARG002 - not the node's to say
        """See `LinkState`."""
        return super().activate_node(node_id, SILENT_SECONDS / HEARTBEAT_PATIENCE)

    def acknowledge_node_heartbeat(self, node_id: int, heartbeat_interval: float) -> bool:  # noqa: ARG002 - the same
        """See `LinkState`."""
        return super().acknowledge_node_heartbeat(node_id, SILENT_SECONDS / HEARTBEAT_PATIENCE)

    def get_message_ins(self, node_id: int, limit: int | None, *, run_id: int | None = None) -> list[Message]:
        """See `LinkState`. A node asks when it is idle: what it was handed and has not confirmed, it does not have."""
        with self.lock:
            for name, question in self.message_ins_store.items():
                # A confirmed question's parts are deleted.
                if question.metadata.dst_node_id == node_id and self.object_store.get(name) is not None:
                    question.metadata.delivered_at = ""
            return super().get_message_ins(node_id, limit, run_id=run_id)

    def get_message_res(self, message_ids: set[str], run_id: int) -> list[Message]:
        """See `LinkState`."""
        with self.lock:
            return super().get_message_res({name for name in message_ids if not self._is_coming(name)}, run_id)

    def start_session(self, run_id: int) -> str:
        """See `CoreState`."""
        session_id = super().start_session(run_id)
        self._keep(session_id)
        return session_id

    def store_object(self, run_id: int, session_id: str, object_id: str, object_content: bytes) -> bool:
        """See `CoreState`. A part's name is the hash of its content: what is here already is the same."""
        stored = super().store_object(run_id, session_id, object_id, object_content)
        self._keep(session_id)
        return stored or bool(self.object_store.get(object_id))

    def _is_coming(self, question: str) -> bool:
        """Whether the reply to a question that still lives is announced, and some of it is not here."""
        reply, asked = self.message_ins_id_to_message_res_id.get(question), self.message_ins_store.get(question)
        if reply is None or asked is None or asked.metadata.created_at + asked.metadata.ttl <= now().timestamp():
            return False
        try:
            tree = self.object_store.get_object_tree(reply)
        except NoObjectInStoreError:
            return False
        return not all(self.object_store.get(part.object_id) for part in iterate_object_tree(tree))

    def _keep(self, session_id: str) -> None:
        """Let an upload that is going on live as long as a silent node."""
        with self._lock_object_push_sessions:
            session = self._object_push_sessions.get(session_id)
            if session is not None:
                session.expires_at = now() + timedelta(seconds=SILENT_SECONDS)


def be_patient() -> None:
    """Let the SuperLink of this process keep its state so.

    Raises:
        RuntimeError: Flower makes its state elsewhere.
    """
    if vars(linkstate_factory).get("InMemoryLinkState") is None:
        raise RuntimeError("flwr: the state is made elsewhere; install the version that pyproject.toml names")
    vars(linkstate_factory)["InMemoryLinkState"] = PatientLinkState
