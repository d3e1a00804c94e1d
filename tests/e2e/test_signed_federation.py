"""Signed evidence in a running federation: what an honest run leaves, what each lie costs, and what a crash leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from common.errors import CheckFailed
from common.evidence.audit_log import AuditLog
from common.evidence.log_audit import audit_logs
from common.evidence.log_entries import Kind
from common.evidence.log_files import read_log
from common.evidence.manifest import STATE_FILE
from common.wire.evidence import EVIDENCE
from common.wire.flower import MODEL, TASK, UPDATE
from common.wire.flower_arrays import arrays_to_record
from common.wire.update import arrays_digest
from server import federation, signed_folder
from server.checkpoint import RunState, SiteHistory
from simulations.runtime import FIRST_NODE, Handler
from tests.common.evidence.logs import Side, change_content, forge
from tests.e2e.signed import NAMES, TRAINED, Consortium, Wire, problems

pytestmark = pytest.mark.usefixtures("flower_runtime")

NORTH = "north"


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


@pytest.fixture(scope="module")
def whole_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run that nothing interrupts trains."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 0
    return model_of(Consortium(tmp_path_factory.mktemp("whole")).play())


def model_of(state: RunState) -> bytes:
    return state.arrays["model"][TRAINED[0]].tobytes()


def kinds(consortium: Consortium, name: str) -> list[str]:
    return [str(entry.kind) for entry in read_log(consortium.sides[name].folder).trail]


def dropped(state: RunState, name: str = NORTH) -> dict[str, int]:
    return state.sites[name].drops


def test_honest_run_leaves_evidence_that_holds_on_both_sides(consortium: Consortium) -> None:
    state = consortium.play()
    assert [record["admitted"] for record in state.rounds] == [list(NAMES)] * 3
    found = audit_logs([side.folder for side in consortium.sides.values()])
    assert [finding.says for finding in found.findings if finding.error] == []
    assert sum("their log has them all" in finding.says for finding in found.findings) == 6
    run = consortium.audit()
    assert problems(run) == {}
    assert any("(closed)" in finding.says for finding in run.findings)
    assert run.manifest is not None
    assert [file.name for file in run.manifest.files] == [STATE_FILE, "summary.json"]


def test_logs_say_what_happened_in_its_order(consortium: Consortium) -> None:
    state = consortium.play()
    server, north = kinds(consortium, "server"), kinds(consortium, NORTH)
    one_round = ["round_opened", *["head_received", "update_admitted"] * 3, "checkpoint"]
    measured = ["round_opened", *["head_received"] * 3, "checkpoint"]
    begin = ["log_opened", "run_opened", *["head_received"] * 3, "checkpoint"]
    assert server == [*begin, *one_round * 3, *measured, "checkpoint", "run_closed"]
    greeted = ["log_opened", "run_opened", "release"]
    answered = ["head_received", *["release"] * 3]
    assert north == [*greeted, *answered * 3, *answered[:-1], "run_closed"]
    trail = read_log(consortium.sides["server"].folder).trail
    opened = [entry for entry in trail if entry.kind is Kind.ROUND_OPENED]
    assert opened[-1].content == arrays_digest(state.arrays["model"])
    assert opened[0].fields["sites"] == list(NAMES)
    released = {
        entry.content
        for name in NAMES
        for entry in read_log(consortium.sides[name].folder).trail
        if entry.kind is Kind.RELEASE and entry.fields["release"] == UPDATE
    }
    assert {entry.content for entry in trail if entry.kind is Kind.UPDATE_ADMITTED} == released
    assert len(released) == 9


def test_resumed_run_goes_on_with_the_same_logs_to_the_same_bits(consortium: Consortium, whole_model: bytes) -> None:
    def die(rounds: int) -> None:
        if rounds == 2:
            raise KeyboardInterrupt

    consortium.after_round = die
    with pytest.raises(KeyboardInterrupt):
        consortium.play()
    assert consortium.audit_stopped() == {}
    consortium.after_round = bool
    state = consortium.play()
    assert model_of(state) == whole_model
    assert problems(consortium.audit()) == {}
    assert kinds(consortium, NORTH).count("run_opened") == 1
    assert kinds(consortium, "server").count("run_opened") == 2


def on_task(change: Callable[[Message, int], None]) -> Wire:
    """A network that changes tasks on their way to the site."""

    def wire(site: Handler, message: Message, context: Context) -> Message | None:
        if TASK in message.content:
            change(message, int(str(message.content.config_records[TASK]["round"])))
        return site(message, context)

    return wire


def on_reply(change: Callable[[RecordDict, int], None]) -> Wire:
    """A network that changes the replies to tasks on their way to the server."""

    def wire(site: Handler, message: Message, context: Context) -> Message | None:
        reply = site(message, context)
        if TASK in message.content and reply is not None and reply.has_content():
            change(reply.content, int(str(message.content.config_records[TASK]["round"])))
        return reply

    return wire


def another_model(message: Message, round_number: int) -> None:
    if round_number == 2:
        model = message.content.array_records[MODEL]
        message.content[MODEL] = arrays_to_record({n: a.numpy() + np.float32(1) for n, a in model.items()})


def no_evidence(message: Message, round_number: int) -> None:
    if round_number == 2:
        del message.content[EVIDENCE]


def replays() -> Callable[[Message, int], None]:
    kept: dict[str, object] = {}

    def change(message: Message, round_number: int) -> None:
        if round_number == 1:
            kept.update(message.content)
        if round_number == 2:
            message.content.update(kept)

    return change


def of_another_site() -> dict[str, Wire]:
    """North's tasks come with east's evidence: a head that is as new, for another site."""
    kept: dict[int, object] = {}

    def keep(message: Message, round_number: int) -> None:
        kept[round_number] = message.content[EVIDENCE]

    def put(message: Message, round_number: int) -> None:
        if round_number == 2:
            message.content[EVIDENCE] = kept[round_number]

    return {"east": on_task(keep), NORTH: on_task(put)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [(another_model, "evidence"), (no_evidence, "evidence"), (replays(), "replayed")],
    ids=["another model than the log says", "no evidence", "the message of an earlier round"],
)
def test_site_refuses_what_the_server_did_not_vouch_for_and_the_run_goes_on(
    consortium: Consortium, change: Callable[[Message, int], None], reason: str
) -> None:
    consortium.wires[NORTH] = on_task(change)
    state = consortium.play()
    assert dropped(state) == {reason: 1}
    assert [record["admitted"] for record in state.rounds] == [list(NAMES), ["east", "west"], list(NAMES)]
    refusals = [entry for entry in read_log(consortium.sides[NORTH].folder).trail if entry.kind is Kind.REFUSAL]
    assert [entry.fields["reason"] for entry in refusals] == [reason]
    assert problems(consortium.audit()) == {}


def test_evidence_that_two_sites_could_share_still_names_the_sites(consortium: Consortium) -> None:
    """Both hold heads of one log, so evidence that fits one may fit the other: it opened the round for both."""
    consortium.wires |= of_another_site()
    state = consortium.play()
    assert dropped(state) in ({}, {"evidence": 1})
    assert problems(consortium.audit()) == {}


def another_update(records: RecordDict, round_number: int) -> None:
    if round_number == 2:
        update = records.array_records[UPDATE]
        records[UPDATE] = arrays_to_record({n: a.numpy() * np.float32(2) for n, a in update.items()})


def without_evidence(records: RecordDict, round_number: int) -> None:
    if round_number == 2:
        del records[EVIDENCE]


def evidence_of_round_one() -> Callable[[RecordDict, int], None]:
    kept: list[object] = []

    def change(records: RecordDict, round_number: int) -> None:
        kept.append(records[EVIDENCE])
        if round_number == 2:
            records[EVIDENCE] = kept[0]

    return change


@pytest.mark.parametrize(
    "change",
    [another_update, without_evidence, evidence_of_round_one()],
    ids=["another update than was released", "no evidence", "evidence of an earlier reply"],
)
def test_server_drops_what_the_site_did_not_vouch_for(
    consortium: Consortium, change: Callable[[RecordDict, int], None]
) -> None:
    consortium.wires[NORTH] = on_reply(change)
    state = consortium.play()
    assert dropped(state) == {"evidence": 1}
    assert [record["admitted"] for record in state.rounds] == [list(NAMES), ["east", "west"], list(NAMES)]
    dropped_entries = [
        entry for entry in read_log(consortium.sides["server"].folder).trail if entry.kind is Kind.UPDATE_DROPPED
    ]
    assert [(entry.fields["site"], entry.fields["reason"]) for entry in dropped_entries] == [(NORTH, "evidence")]
    assert problems(consortium.audit()) == {}


def test_server_drops_a_reply_with_the_evidence_of_another_site(consortium: Consortium) -> None:
    kept: dict[int, object] = {}

    def keep(records: RecordDict, round_number: int) -> None:
        kept[round_number] = records[EVIDENCE]

    def put(records: RecordDict, round_number: int) -> None:
        if round_number == 2:
            records[EVIDENCE] = kept[round_number]

    consortium.wires |= {"east": on_reply(keep), NORTH: on_reply(put)}
    assert dropped(consortium.play()) == {"evidence": 1}
    assert problems(consortium.audit()) == {}


def test_lost_reply_costs_its_round_and_no_more(consortium: Consortium) -> None:
    """The server does not know which of its heads the site holds then; evidence extends each that may be."""

    def lose(site: Handler, message: Message, context: Context) -> Message | None:
        reply = site(message, context)
        lost = TASK in message.content and message.content.config_records[TASK]["round"] in (1, 2)
        return None if lost else reply

    consortium.rounds, consortium.deadline_seconds = 4, 1.0
    consortium.wires[NORTH] = lose
    state = consortium.play()
    assert dropped(state) == {"late": 2}
    assert state.sites[NORTH].rounds_joined == 2
    assert problems(consortium.audit()) == {}


def test_lost_task_costs_its_round_and_no_more(consortium: Consortium) -> None:
    def lose(site: Handler, message: Message, context: Context) -> Message | None:
        lost = TASK in message.content and message.content.config_records[TASK]["round"] == 2
        return None if lost else site(message, context)

    consortium.deadline_seconds = 1.0
    consortium.wires[NORTH] = lose
    assert dropped(consortium.play()) == {"late": 1}
    assert problems(consortium.audit()) == {}


def test_site_that_rewrites_its_log_between_rounds_is_dropped_from_then_on(consortium: Consortium) -> None:
    def rewrite(rounds: int) -> None:
        if rounds == 1:
            consortium.reopen(NORTH, lambda side: forge(side, change_content(3)))

    consortium.after_round = rewrite
    state = consortium.play()
    assert dropped(state) == {"evidence": 2}
    assert state.sites["east"].rounds_joined == 3
    broken = problems(consortium.audit())
    assert list(broken) == [f"heads of {NORTH} in log server"]
    assert "the log was rewritten" in broken[f"heads of {NORTH} in log server"]


def test_site_that_begins_its_log_anew_is_dropped(consortium: Consortium) -> None:
    def begin_anew(side: Side) -> None:
        for path in side.folder.iterdir():
            path.unlink()

    def after(rounds: int) -> None:
        if rounds == 1:
            consortium.reopen(NORTH, begin_anew)

    consortium.after_round = after
    assert dropped(consortium.play()) == {"evidence": 2}


def stop_after(consortium: Consortium, rounds: int) -> None:
    def die(done: int) -> None:
        if done == rounds:
            raise KeyboardInterrupt

    consortium.after_round = die
    with pytest.raises(KeyboardInterrupt):
        consortium.play()
    consortium.after_round = bool


def test_server_that_rewrites_its_log_finds_no_site_that_trains(consortium: Consortium) -> None:
    stop_after(consortium, 2)
    forge(consortium.sides["server"], change_content(7))
    state = consortium.play()
    assert state.rounds[2]["dropped"] == dict.fromkeys(NAMES, "evidence")
    assert {finding for finding in problems(consortium.audit()) if finding.startswith("heads of server")} == {
        f"heads of server in log {name}" for name in NAMES
    }


def test_server_that_begins_its_log_anew_meets_nobody(consortium: Consortium) -> None:
    consortium.deadline_seconds = 0.5
    stop_after(consortium, 2)
    for path in consortium.sides["server"].folder.iterdir():
        path.unlink()
    with pytest.raises(CheckFailed, match=r"round 3 needs \d hospitals and 0 came"):
        consortium.play()


def test_server_that_goes_back_to_an_earlier_round_is_refused_as_stale(consortium: Consortium) -> None:
    """A checkpoint of before put in the place of the newest one, under a log that goes on."""
    kept: list[bytes] = []
    state_file = consortium.run_folder / STATE_FILE

    def keep(rounds: int) -> None:
        if rounds == 1:
            kept.append(state_file.read_bytes())
        if rounds == 3:
            raise KeyboardInterrupt

    consortium.rounds = 4
    consortium.after_round = keep
    with pytest.raises(KeyboardInterrupt):
        consortium.play()
    consortium.after_round = bool
    state_file.write_bytes(kept[0])
    state = consortium.play()
    assert [record["dropped"] for record in state.rounds] == [
        {},
        dict.fromkeys(NAMES, "stale"),
        {},
        {},
    ]


def test_site_without_a_members_key_is_not_met(consortium: Consortium) -> None:
    consortium.names[FIRST_NODE + 1] = "stranger"
    state = consortium.play()
    assert set(state.sites) == {"east", "west"}


def test_node_that_is_not_registered_is_not_even_asked(consortium: Consortium) -> None:
    del consortium.names[FIRST_NODE + 1]
    consortium.wires[NORTH] = lambda *_: pytest.fail("was asked")
    assert set(consortium.play().sites) == {"east", "west"}


def test_node_that_claims_another_sites_name_is_not_met(consortium: Consortium) -> None:
    """West's node answers as north does; north's own is away."""

    def as_north(site: Handler, message: Message, context: Context) -> Message | None:  # noqa: ARG001 - of `Wire`
        return consortium.site(NORTH)(message, context)

    consortium.names |= {FIRST_NODE + 1: "west", FIRST_NODE + 2: NORTH}
    assert set(consortium.play().sites) == {"east"}


def test_site_that_comes_later_takes_part_from_the_next_round_on(consortium: Consortium) -> None:
    here = {FIRST_NODE, FIRST_NODE + 2}

    def arrive(rounds: int) -> None:
        if rounds == 1:
            here.add(FIRST_NODE + 1)

    consortium.present, consortium.after_round = lambda: here, arrive
    consortium.rounds = 5
    state = consortium.play()
    joined = [NORTH in record["admitted"] for record in state.rounds]
    assert joined[:2] == [False, False]
    assert joined[3:] == [True, True]
    assert dropped(state) == {}
    assert problems(consortium.audit()) == {}


def test_site_that_is_away_is_not_waited_for_and_keeps_its_history(consortium: Consortium) -> None:
    here = {FIRST_NODE, FIRST_NODE + 1, FIRST_NODE + 2}

    def leave(rounds: int) -> None:
        here.discard(FIRST_NODE + 1)
        if rounds == 2:
            here.add(FIRST_NODE + 1)

    consortium.present, consortium.after_round = lambda: here, leave
    consortium.deadline_seconds = 60.0
    state = consortium.play()
    assert [record["dropped"] for record in state.rounds] == [{}, {NORTH: "offline"}, {}]
    assert (state.sites[NORTH].rounds_joined, state.sites[NORTH].rounds_asked) == (2, 2)
    assert sum(record["seconds"] for record in state.rounds) < 30
    assert problems(consortium.audit()) == {}


def test_site_at_rest_is_asked_for_nothing_but_its_figures_and_the_evidence_holds(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rest(sites: dict[str, SiteHistory], weights: object, *, round_number: int, most: int) -> list[str]:
        del weights, most
        sites[NORTH].rests_from = sites[NORTH].rests_from or round_number + 1
        return []

    monkeypatch.setattr(federation, "note_weights", rest)
    state = consortium.play()
    assert state.sites[NORTH].rounds_asked == 1
    trail = read_log(consortium.sides["server"].folder).trail
    asked = [entry.fields["sites"] for entry in trail if entry.kind is Kind.ROUND_OPENED]
    others = [name for name in NAMES if name != NORTH]
    assert asked == [list(NAMES), others, others, list(NAMES)]
    answered = ["head_received", *["release"] * 3]
    greeted = ["log_opened", "run_opened", "release"]
    assert kinds(consortium, NORTH) == [*greeted, *answered, *answered[:-1], "run_closed"]
    assert problems(consortium.audit()) == {}


def test_run_that_ends_within_a_checkpoint_is_closed_with_what_is_on_the_disk(consortium: Consortium) -> None:
    """The log vouched for a state that never took its place; the manifest must not list it."""
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, "before the rename", 2)
        consortium.ends_on = Killed
        consortium.play()
    run = consortium.audit()
    assert problems(run) == {}
    assert any("(closed)" in finding.says for finding in run.findings)


def test_run_that_was_closed_early_may_go_on_and_be_killed(consortium: Consortium) -> None:
    """The manifest is no longer the one that the log closed the run with, and does not have to be."""

    def stop(rounds: int) -> None:
        if rounds == 1:
            raise Killed

    consortium.after_round, consortium.ends_on = stop, Killed
    consortium.play()
    assert problems(consortium.audit()) == {}
    consortium.after_round, consortium.ends_on = bool, None
    with pytest.MonkeyPatch.context() as patch:
        at_step(patch, "before the rename", 1)
        with pytest.raises(Killed):
            consortium.play()
    assert consortium.audit_stopped() == {}
    consortium.play()
    assert problems(consortium.audit()) == {}


class Killed(BaseException):
    """The process is gone."""


STEPS: dict[str, tuple[object, str]] = {
    "before the entry": (AuditLog, "append"),
    "before the copy of the log": (AuditLog, "copy_to"),
    "before the rename": (Path, "replace"),
    "before the manifest": (signed_folder, "write_manifest"),
}


def at_step(monkeypatch: pytest.MonkeyPatch, step: str, number: int) -> None:
    """Kill the process at a step of the `number`-th checkpoint, counted from 0."""
    owner, name = STEPS[step]
    original, seen = getattr(owner, name), [0]

    def killing(*arguments: object, **options: object) -> object:
        is_meant = {
            "append": lambda: arguments[1] is Kind.CHECKPOINT,
            "replace": lambda: str(arguments[1]).endswith(STATE_FILE),
        }.get(name, lambda: True)()
        seen[0] += is_meant
        if is_meant and seen[0] == number + 1:
            raise Killed
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, killing)


@pytest.mark.parametrize("number", [0, 4])
@pytest.mark.parametrize("step", STEPS)
def test_server_killed_at_a_checkpoint_leaves_a_folder_that_holds_and_goes_on(
    consortium: Consortium, whole_model: bytes, step: str, number: int
) -> None:
    for checkpoint in (number, min(number, 1)):  # nothing of the first crash may stand in the way of the second
        with pytest.MonkeyPatch.context() as patch:
            at_step(patch, step, checkpoint)
            with pytest.raises(Killed):
                consortium.play()
        assert consortium.audit_stopped() == {}
    state = consortium.play()
    assert problems(consortium.audit()) == {}
    assert model_of(state) == whole_model


@pytest.mark.parametrize("number", range(3))
def test_server_killed_while_it_closes_leaves_a_folder_that_holds_and_closes(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Before the last manifest, before the last entry, and before the copy that shows it."""
    owner, name = [(signed_folder, "digest_files"), (AuditLog, "append"), (AuditLog, "copy_to")][number]
    original = getattr(owner, name)

    def killing(*arguments: object, **options: object) -> object:
        log = consortium.logs.get("server")
        is_closed = log is not None and any(entry.kind is Kind.RUN_CLOSED for entry in log.trail)
        is_last_entry = arguments[:2] == (log, Kind.RUN_CLOSED)
        if {"digest_files": True, "append": is_last_entry, "copy_to": is_closed}[name]:
            raise Killed
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killing)
        with pytest.raises(Killed):
            consortium.play()
    assert consortium.audit_stopped() == {}
    consortium.play()
    run = consortium.audit()
    assert problems(run) == {}
    assert any("(closed)" in finding.says for finding in run.findings)
