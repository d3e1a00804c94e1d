"""A hostile ServerApp against real sites: each forbidden message gets a reason code, and charges nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.common.serde import message_to_proto
from flwr.serverapp import Grid, ServerApp

from common.config.load import config_digest, load_config
from common.encoders.dual import DualEncoder
from common.ledger.read import read_books
from common.wire.flower import MODEL, TASK, UPDATE, Task, hello_to_records, task_to_records
from common.wire.flower_arrays import arrays_to_record
from common.wire.update import model_arrays
from simulations.federation.handlers import site_handlers
from simulations.federation.ledgers import ledger_path
from simulations.federation.members import Members, each_its_own
from simulations.runtime import InProcessGrid, run_in_process
from simulations.scenarios.simulate import Clock, prepare
from simulations.studies.consortium import Consortium

Forge = Callable[[RecordDict], RecordDict]
"""What a hostile server makes of an honest task."""


@pytest.fixture(scope="module")
def prepared(tiny_overrides: list[str], quiet_watcher: Any) -> tuple[Consortium, DualEncoder]:
    return prepare(load_config(tiny_overrides), Clock(quiet_watcher))


@pytest.fixture
def members(tiny_overrides: list[str], prepared: tuple[Consortium, DualEncoder], tmp_path: Path) -> Members:
    consortium, model = prepared
    config = load_config([*tiny_overrides, "policy.epsilon=6.5", "privacy.epsilon=8"])
    return Members(config=config, consortium=consortium, cut=each_its_own(consortium), model=model, folder=tmp_path)


def other_run(records: RecordDict) -> RecordDict:
    return task_to_records(Task(round_number=1, config_digest="0" * 64, train=True), records.array_records[MODEL])


def no_model(records: RecordDict) -> RecordDict:
    del records[MODEL]
    return records


def other_model(records: RecordDict) -> RecordDict:
    records[MODEL] = arrays_to_record({"weights": np.zeros(3, dtype=np.float32)})
    return records


def model_of_nan(records: RecordDict) -> RecordDict:
    """Every gradient is NaN then: the site may answer, but with finite numbers."""
    arrays = {name: np.full_like(array, np.nan) for name, array in _arrays(records).items()}
    records[MODEL] = arrays_to_record(arrays)
    return records


def task_of_junk(records: RecordDict) -> RecordDict:
    records[TASK] = ConfigRecord({"please": "send the reports"})
    return records


def arrays_as_the_task(records: RecordDict) -> RecordDict:
    records[TASK] = records.array_records[MODEL]
    return records


def nothing(records: RecordDict) -> RecordDict:  # noqa: ARG001 - of `Forge`
    return RecordDict()


REFUSED = [other_run, no_model, other_model, task_of_junk, arrays_as_the_task, nothing]


def _arrays(records: RecordDict) -> dict[str, Any]:
    return {name: array.numpy() for name, array in records.array_records[MODEL].items()}


def honest_task(members: Members, *, round_number: int = 1) -> RecordDict:
    task = Task(round_number=round_number, config_digest=config_digest(members.config), train=True)
    return task_to_records(task, arrays_to_record(model_arrays(members.model)))


def answers(members: Members, *messages: tuple[str, RecordDict]) -> list[Message]:
    """What a ServerApp that asks the first site for these, one after another, is told."""
    found: list[Message] = []
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001 - Flower's signature
        node = min(grid.get_node_ids())
        for kind, content in messages:
            found.extend(grid.send_and_receive([Message(content, node, kind, ttl=60.0)], timeout=60.0))

    run_in_process(app, site_handlers(members), num_workers=1)
    return found


def reserved(members: Members) -> int:
    books = read_books(ledger_path(members.folder, members.consortium.sites[0]))
    return sum(len(books.reservations(account)) for account in books.accounts)


@pytest.mark.parametrize("kind", [MessageType.TRAIN, MessageType.EVALUATE, "train.secretly"])
@pytest.mark.parametrize("forge", REFUSED)
def test_forged_message_gets_a_reason_code(members: Members, forge: Forge, kind: str) -> None:
    (answer,) = answers(members, (kind, forge(honest_task(members))))
    assert answer.has_error()
    assert answer.error.reason in {"policy", "malformed", "raised"}
    assert reserved(members) == 0


@pytest.mark.parametrize("kind", [MessageType.EVALUATE, "train.secretly", "query.reports"])
def test_honest_task_by_a_forbidden_kind_gets_a_reason_code(members: Members, kind: str) -> None:
    (answer,) = answers(members, (kind, honest_task(members)))
    assert answer.has_error()
    assert reserved(members) == 0


@pytest.mark.parametrize("content", [hello_to_records(), RecordDict(), RecordDict({"report": ConfigRecord({"n": 1})})])
def test_query_is_told_the_name_and_the_band_whatever_it_asks(members: Members, content: RecordDict) -> None:
    (answer,) = answers(members, (MessageType.QUERY, content))
    site = members.consortium.sites[0]
    assert dict(answer.content.config_records["site"]) == {"name": site, "patients-band": "32-63"}
    assert set(answer.content) == {"site", "releases"}


def test_query_with_a_task_of_another_run_is_refused(members: Members) -> None:
    (answer,) = answers(members, (MessageType.QUERY, other_run(honest_task(members))))
    assert answer.error.reason == "policy"


def test_model_of_nan_draws_out_nothing_but_finite_noise(members: Members) -> None:
    (answer,) = answers(members, (MessageType.TRAIN, model_of_nan(honest_task(members))))
    if answer.has_content():
        assert all(np.isfinite(array.numpy()).all() for array in answer.content.array_records[UPDATE].values())


def test_server_that_goes_on_asking_is_stopped_by_the_ledger(members: Members) -> None:
    """Epsilon 8 is planned for two rounds, the hospital's cap is 6.5: it holds, however often it is asked."""
    found = answers(members, *[(MessageType.TRAIN, honest_task(members)) for _ in range(6)])
    released = [answer for answer in found if answer.has_content()]
    refused = [answer for answer in found if answer.has_error()]
    assert {answer.error.reason for answer in refused} == {"budget"}
    assert 0 < len(released) == reserved(members) < 6
    assert all(b"epsilon" not in message_to_proto(answer).SerializeToString() for answer in refused)


def test_grid_never_sees_the_text_of_an_error(members: Members) -> None:
    grid = InProcessGrid(site_handlers(members), num_workers=1)
    try:
        node = min(grid.get_node_ids())
        sent = [Message(RecordDict({MODEL: ArrayRecord()}), node, MessageType.TRAIN, ttl=60.0)]
        (answer,) = grid.send_and_receive(sent, timeout=60.0)
    finally:
        grid.close()
    assert answer.error.reason in {"malformed", "raised"}
