"""The ServerApp of a deployment: what Flower's SuperExec starts for each run, and again after each crash.

Flower hands over nothing but the run's digest. Everything else lies in the server's folder: the bundle that hospitals
approved, the checkpoint to go on from, the keys, the log. So it does not matter how often this process is killed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.bundle import VALIDATION, Bundle
from common.config.schema import RunConfig
from common.encoders.dual import DualEncoder, trainable_names
from common.encoders.public_fit import fresh_model, split_frozen
from common.encoders.public_parts import validation_from_arrays
from common.encoders.registry import ENCODERS
from common.errors import CheckFailed, TrustError, WardroundError
from common.evidence.audit_log import AuditLog
from common.evidence.run_audit import LOGS_FOLDER
from common.files import write_atomically
from common.model.form import RELEVANCE_FILE
from common.model.relevance import write_relevance
from common.privacy.plan import SHARED, privacy_plan
from common.service.log_format import log_as_json
from common.trust.keys import PublicKey
from common.wire.objects import cut_small, look_again_soon
from common.wire.update import from_safetensors
from server.app import GridTransport
from server.checkpoint import RunState, open_state
from server.deploy.config import CONFIG_FILE as CONSORTIUM_FILE
from server.deploy.flower_processes import SERVER_VARIABLE
from server.deploy.installation import Installation, read_installation
from server.deploy.members_log import note_members
from server.deploy.present_members import PresentMembers, keys_of
from server.deploy.registered import SitesByNode
from server.deploy.runs import LOG_FILE, Ending, Outcome, RunFolder, Wanted, run_of
from server.deploy.search_app import keep_open
from server.federation import Federation
from server.model.relevance import measured_relevance, published_arrays
from server.public_watch import PublicValidation
from server.recorder import ServerRecorder
from server.report.build import RunFacts, build_summary
from server.report.fairness.release_gate import withheld_because
from server.report.summary import REPORT_FILE, SUMMARY_FILE
from server.report.write import ROUNDS_FILE, write_run
from server.setup import Setup
from server.transport import Presence
from strategies.composition import check_cancels, check_least_sites

RUN_FIELD = "run"
"""Key of the app's configuration that holds the run's digest."""
LOG_FOLDER = "log"
"""In the server's folder: its audit log over all runs."""
CONFIG_FILE = "config.yaml"
VOUCHED_FILES = (CONFIG_FILE, SUMMARY_FILE, ROUNDS_FILE, REPORT_FILE, RELEVANCE_FILE)
"""What the last manifest vouches for, beside the checkpoint."""

SECONDS_AN_HOUR = 3600.0

_LOGGER = logging.getLogger(__name__)

app = ServerApp()


class StopRequested(WardroundError):
    """The coordinating centre asked the run to stop."""

    reason = "stopped"


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run, or go on with, the run that the app names."""
    folder = Path(os.environ[SERVER_VARIABLE])
    run = run_of(folder, str(context.run_config[RUN_FIELD]))
    look_again_soon()
    cut_small()
    # What this process writes elsewhere, Flower keeps in the SuperLink's memory, if at all.
    log_as_json("run", handler=logging.FileHandler(run.path / LOG_FILE, encoding="utf-8"))
    with run.alone():
        installation = read_installation(folder / CONSORTIUM_FILE)
        if run.outcome is None:
            _to_its_end(run, installation, grid)
        elif run.wanted is Wanted.SEARCH:
            _open_for_search(run, installation, grid)


def _to_its_end(run: RunFolder, installation: Installation, grid: Grid) -> None:
    """Run until there is an outcome; a crash leaves none, and is gone on from."""
    try:
        bundle = run.bundle()
        with AuditLog(
            installation.folder / LOG_FOLDER, owner=installation.consortium.name, key=installation.signing_key
        ) as log:
            note_members(log, installation.members, installation.signing_key)
            outcome = _federate(run, bundle, installation, grid, log)
    except WardroundError as error:
        outcome = Outcome(ending=Ending.FAILED, reason=str(error), exit_code=error.exit_code)
    run.note("ended", ending=outcome.ending, reason=outcome.reason)
    run.end(outcome)


def _open_for_search(run: RunFolder, installation: Installation, grid: Grid) -> None:
    """Keep a completed run's channel open for the questions of hospitals; the run's log then tells of them, too."""
    config_file, owner = installation.folder / CONSORTIUM_FILE, installation.consortium.name
    with AuditLog(installation.folder / LOG_FOLDER, owner=owner, key=installation.signing_key) as log:
        members = PresentMembers(config_file, log)
        recorder = _recorder(run, run.bundle().config, installation, log, members=members)
        transport = GridTransport(grid, recorder=recorder, names=SitesByNode(grid, installation))
        keep_open(run, installation, transport, members=members)
        log.copy_to(run.path / LOGS_FOLDER / owner)


def _recorder(
    run: RunFolder, config: RunConfig, installation: Installation, log: AuditLog, *, members: Mapping[str, PublicKey]
) -> ServerRecorder:
    return ServerRecorder(
        log,
        members=members,
        config=config,
        folder=run.path,
        key=installation.signing_key,
        privacy=partial(privacy_plan, config),
    )


def _federate(run: RunFolder, bundle: Bundle, installation: Installation, grid: Grid, log: AuditLog) -> Outcome:
    config, members = bundle.config, installation.members.present
    check_least_sites(config.aggregator, len(bundle.facts.cohort) or len(members))
    _check_cohort(bundle, installation)
    write_atomically(run.path / CONFIG_FILE, bundle.config_bytes)
    start = from_safetensors(bundle.start, source=str(run.path))
    state = open_state(run.path, config_digest=bundle.run, model=start)
    model = trained_model(config)
    trained = trainable_names(model)
    privacy = partial(privacy_plan, config)
    recorder = _recorder(run, config, installation, log, members=keys_of(installation))
    watcher = RunWatcher(run)
    setup = Setup(
        config=config,
        trained=trained,
        privacy=privacy,
        folder=run.path,
        state=state,
        observer=watcher,
        recorder=recorder,
        validation=validation_of(bundle, model),
        least_sites=len(bundle.facts.cohort) or len(members),
        patience_seconds=SECONDS_AN_HOUR * config.federation.patience_hours,
        watch_presence=watcher.presence_seen,
    )
    transport = GridTransport(grid, recorder=recorder, names=SitesByNode(grid, installation))
    outcome = _outcome_of(Federation(setup, transport))
    facts = RunFacts(
        started_at=run.requested_at,
        engine="deployment",
        problem=outcome.reason,
        seconds=(datetime.now(UTC) - datetime.fromisoformat(run.requested_at)).total_seconds(),
        timings={"rounds_seconds": sum(float(record["seconds"]) for record in state.rounds)},
        data=None,
        num_trained=sum(start[name].size for name in trained),
        pooled=None,
    )
    summary = build_summary(config, state, facts)
    validation = None if setup.validation is None else setup.validation.studies
    published = published_arrays(summary, start=start, final=state.arrays["model"])
    write_relevance(run.path, measured_relevance(model, published, validation, config))
    write_run(run.path, summary, state.rounds)
    recorder.closed(state, status=outcome.ending, files=[run.path / name for name in VOUCHED_FILES])
    return gated(outcome, summary)


def gated(outcome: Outcome, summary: Mapping[str, Any]) -> Outcome:
    """The outcome of a run that completed, with why its model must not be published where that is so."""
    line = withheld_because(summary)
    if line is None or outcome.ending is not Ending.COMPLETED:
        return outcome
    return replace(outcome, reason=line, exit_code=CheckFailed.exit_code)


def _check_cohort(bundle: Bundle, installation: Installation) -> None:
    """Return where each hospital that shares noise is a member, with the key that the bundle names.

    Raises:
        TrustError: One is not: no other would share noise with it.
    """
    members = installation.members.present
    for site, key in bundle.facts.cohort.items():
        if site not in members or members[site].signing_key != key:
            raise TrustError(
                f"{site}: is no member any more, or has another key than the bundle names; make a new bundle with "
                "wardround server cohort and wardround bundle"
            )
    config = bundle.config
    if config.privacy.noise == SHARED:
        check_cancels(config.aggregator)


def _outcome_of(federation: Federation) -> Outcome:
    """Run the rounds; what ended them on purpose becomes an outcome, anything else goes through."""
    try:
        federation.run()
    except StopRequested as error:
        return Outcome(ending=Ending.STOPPED, reason=str(error), exit_code=1)
    except TrustError:
        raise  # the log or a key does not hold: nothing more is signed
    except WardroundError as error:
        return Outcome(ending=Ending.FAILED, reason=str(error), exit_code=error.exit_code)
    return Outcome(ending=Ending.COMPLETED, reason=None, exit_code=0)


def trained_model(config: RunConfig) -> DualEncoder:
    """A model of the form that a run trains, before any fit."""
    encoder = ENCODERS.load(config.encoder.name)(config.encoder)
    _, model = split_frozen(fresh_model(encoder, config))
    return model


def validation_of(bundle: Bundle, model: DualEncoder) -> PublicValidation | None:
    """What the server measures a run with; None where nothing was kept from the public fit.

    Raises:
        CheckpointError: The bundle's public validation is damaged.
        TrustError: It is of another form.
    """
    studies = validation_from_arrays(from_safetensors(bundle.validation, source=VALIDATION))
    return None if studies is None else PublicValidation(model, studies)


class RunWatcher:
    """An `Observer` that tells watchers what happens, and ends the run between two rounds where that is wanted.

    Args:
        run: The run.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._presence: Presence | None = None

    def presence_seen(self, presence: Presence) -> None:
        """Tell watchers who is waited for, when that changes.

        Raises:
            StopRequested: The coordinating centre wants the run to stop.
        """
        if presence != self._presence:
            self._presence = presence
            self._run.note("waiting", here=list(presence.here), not_ready=dict(presence.not_ready))
        if self._run.wanted is Wanted.STOP:
            raise self._stopped("while hospitals were waited for")

    def round_opened(self, round_number: int, asked: tuple[str, ...]) -> None:
        """See `Observer`."""
        self._run.note("round_opened", round=round_number, sites=list(asked))

    def site_answered(self, site: str, problem: str | None) -> None:
        """See `Observer`."""
        self._run.note("site_answered", site=site, problem=problem)
        if problem is not None:
            _LOGGER.warning("%s dropped: %s", site, problem)

    def round_committed(self, state: RunState) -> None:
        """See `Observer`.

        Raises:
            StopRequested: The coordinating centre wants the run to stop.
        """
        last = state.rounds[-1] if state.rounds else None
        self._run.note(
            "round_committed",
            rounds=state.rounds_completed,
            outcome=last["outcome"] if last else None,
            admitted=len(last["admitted"]) if last else 0,
        )
        if self._run.wanted is Wanted.STOP:
            raise self._stopped(f"after round {state.rounds_completed}")

    def _stopped(self, when: str) -> StopRequested:
        return StopRequested(
            f"stopped by the coordinating centre {when}; wardround server resume {self._run.key} goes on"
        )
