"""A small run of a deployment, signed as the server and three hospitals sign it, with all that hospitals hand over.

Nothing is trained: models and updates are small arrays. Log, ledger, checkpoint, manifest, summary, report, member list
and search indexes are written by the parts that write them in a deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from client.ledger.ledger import Account, Budget, Ledger
from client.search.generation import alone
from client.search.studies import IndexedStudies
from common.config.load import config_as_yaml, config_digest, load_config
from common.config.schema import RunConfig
from common.evidence.audit_log import AuditLog
from common.evidence.log_entries import Kind
from common.files import sha256_hex
from common.privacy.events import DiscreteLaplace
from common.privacy.plan import PrivacyPlan, privacy_plan
from common.trust.keys import SigningKey
from common.wire.update import arrays_digest
from server.checkpoint import RunState, SiteHistory, note_asked, save_state
from server.deploy.members import Admitted, Members
from server.report.build import RunFacts, build_summary
from server.report.fairness.gaps import fairness_of
from server.report.fairness.groups import ALL_SITES, of_all_sites
from server.report.write import write_run
from server.signed_folder import SignedFolder
from tests.common.evidence.logs import Side, exchange

SITES = ("east", "north", "west")
CENTRE = "centre"
BAND = "64-127"
ROUNDS = 2
BUNDLE = "be" * 32
COUNTS = DiscreteLaplace(noise_scale=4.0, releases=2)
"""Half an epsilon, where the run's config states two."""
OVERRIDES = (
    f"federation.rounds={ROUNDS}",
    "privacy.epsilon=8",
    "privacy.calibrate=false",
    "aggregator.name=trimmed_mean",
    "aggregator.num_byzantine=1",
    "evaluation.epsilon=2",
    "fairness.epsilon=2",
    "encoder.width=32",
)
SITE_YAML = """\
site: {site}
state_folder: state
data: {{name: chest, adapter: manifest, root: studies}}
budget: {{epsilon: 100.0, delta: 1.0e-5, epsilon_per_run: 50.0}}
training: {{least_noise_multiplier: 0.1}}
update: {{most_values: 1000, most_bytes: 8000, keys: ["*"]}}
releases:
  allowed: {{site: [public], update: [patient_dp_sgd], statistics: [discrete_laplace]}}
  least_cell: 11
search: {{allowed: [west]}}
"""


@dataclass(frozen=True)
class SignedRun:
    """Where it lies.

    Attributes:
        folder: The run's folder is `run` in it, the member list `members.json`, a hospital's folder its name.
    """

    folder: Path

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    @property
    def members(self) -> Path:
        """The member list."""
        return self.folder / "members.json"

    @property
    def states(self) -> list[Path]:
        """The hospitals' state folders."""
        return [self.folder / site / "state" for site in SITES]

    @property
    def arguments(self) -> list[str | Path]:
        """The command's, with all that there is."""
        handed = [part for state in self.states for part in ("--site", state)]
        return [self.run, *handed, "--members", self.members]

    def key(self, name: str) -> SigningKey:
        """A side's key: who changes a file and signs it again."""
        return SigningKey.load(self.folder / "keys" / f"{name}.pem")


class _Writer:
    def __init__(self, folder: Path, overrides: tuple[str, ...]) -> None:
        self.folder, self.run = folder, folder / "run"
        self.config: RunConfig = load_config([*OVERRIDES, *overrides])
        self.digest = config_digest(self.config)
        plan = privacy_plan(self.config, BAND)
        assert plan is not None
        self.plan: PrivacyPlan = plan
        keys = folder / "keys"
        self.server = Side(name=CENTRE, folder=folder / "log", key=SigningKey.create(keys / f"{CENTRE}.pem"))
        self.sides = {
            site: Side(name=site, folder=folder / site / "state" / "log", key=SigningKey.create(keys / f"{site}.pem"))
            for site in SITES
        }

    def write(self) -> None:
        for site in SITES:
            (self.folder / site / "state").mkdir(parents=True, exist_ok=True)
            (self.folder / site / "site.yaml").write_text(SITE_YAML.format(site=site), encoding="utf-8")
            self._index(site)
        with ExitStack() as stack:
            server = stack.enter_context(self.server.open())
            logs = {site: stack.enter_context(side.open()) for site, side in self.sides.items()}
            self._play(server, logs)

    def _play(self, server: AuditLog, logs: Mapping[str, AuditLog]) -> None:
        members = Members(CENTRE, [self._admitted(site) for site in SITES]).sealed(self.server.key)
        (self.folder / "members.json").write_bytes(members)
        server.append(Kind.MEMBERS, content=sha256_hex(members), version=len(SITES))
        server.append(Kind.RUN_OPENED, content="cf" * 32, run=self.digest)
        folder = SignedFolder(self.run, log=server, run=self.digest, key=self.server.key, privacy=lambda _: self.plan)
        for log in logs.values():
            log.append(Kind.BUNDLE_APPROVED, content="ab" * 32, run=self.digest, bundle=BUNDLE)
        state = RunState.before_round_one(self.digest, {"towers.weight": np.zeros((2, 3), np.float32)})
        state.sites = {site: SiteHistory(BAND) for site in SITES}
        self._commit(state, folder)
        for number in range(1, ROUNDS + 1):
            self._round(state, number, server, logs)
            self._commit(state, folder)
        self._close(state, folder)

    def _round(self, state: RunState, number: int, server: AuditLog, logs: Mapping[str, AuditLog]) -> None:
        """West is late in the first round: its update is released, charged and dropped."""
        of = {"run": self.digest, "round": number}
        server.append(Kind.ROUND_OPENED, content=arrays_digest(state.arrays["model"]), sites=list(SITES), **of)
        late = ["west"] if number == 1 else []
        for site, log in logs.items():
            content = sha256_hex(f"{site} {number}".encode())
            update = self._charge(site, number, "update", self.plan.event)
            log.append(
                Kind.RELEASE,
                content=content,
                release="update",
                mechanism="patient_dp_sgd",
                ledger_entry=update,
                **of,
            )
            if number == ROUNDS:
                entry = self._charge(site, number, "statistics", COUNTS)
                log.append(
                    Kind.RELEASE,
                    content="cc" * 32,
                    release="statistics",
                    mechanism="discrete_laplace",
                    ledger_entry=entry,
                    **of,
                )
            exchange(server, log)
            if site in late:
                server.append(Kind.UPDATE_DROPPED, site=site, reason="late", **of)
            else:
                server.append(Kind.UPDATE_ADMITTED, content=content, site=site, **of)
            history = state.sites[site]
            history.rounds_asked += 1
            history.rounds_joined += site not in late
            history.drops = {"late": 1} if site == "west" else {}
        state.arrays["model"]["towers.weight"] = np.full((2, 3), number, np.float32)
        state.rounds_completed = number
        state.rounds.append(self._record(number, [site for site in SITES if site not in late], late))

    def _record(self, number: int, admitted: list[str], late: list[str]) -> dict[str, Any]:
        return {
            "round": number,
            "asked": list(SITES),
            "admitted": admitted,
            "dropped": dict.fromkeys(late, "late"),
            "validation": None,
            # Two of three hospitals are too few for a rule that bears one.
            "outcome": "updated" if not late else "quorum missed",
            "update_norm": None,
            "weights": {},
            "to_rest": [],
            "seconds": 1.0,
            "metrics": {},
            "epsilon": dict.fromkeys(SITES, self.plan.epsilon_after(number)),
        }

    def _charge(self, site: str, number: int, release: str, event: Any) -> str:
        cohort = "train" if release == "update" else "held_out"
        said: dict[str, Any] = {"run": self.digest, "round_number": number, "release": release, "event": event}
        budget = Budget(epsilon=100.0, delta=1e-5, epsilon_per_run=50.0)
        path = self.folder / site / "state" / "ledger.sqlite3"
        with Ledger.open(path, site=site, key=self.sides[site].key, budget=budget) as ledger:
            entry = ledger.reserve(Account(dataset_digest="da" * 32, cohort=cohort), **said).entry
            ledger.settle(entry, **said)
            self._heads = {**getattr(self, "_heads", {}), site: ledger_head(ledger)}
        return entry

    def _commit(self, state: RunState, folder: SignedFolder) -> None:
        for site, head in getattr(self, "_heads", {}).items():
            state.sites[site].ledger_head = head
        note_asked(state, self.run)
        save_state(state, self.run, vouch=lambda path: folder.vouch(state, path))
        folder.sign(state)

    def _close(self, state: RunState, folder: SignedFolder) -> None:
        facts = RunFacts(
            started_at="2026-11-30T12:00:00+00:00",
            engine="deployment",
            problem=None,
            seconds=3.0,
            timings={"rounds_seconds": 2.0},
            data=None,
            num_trained=6,
            pooled=None,
        )
        summary = build_summary(self.config, state, facts) | _groups()
        (self.run / "config.yaml").write_text(config_as_yaml(self.config), encoding="utf-8")
        write_run(self.run, summary, state.rounds)
        names = ("config.yaml", "summary.json", "rounds.jsonl", "report.html")
        folder.close(state, status="completed", files=[self.run / name for name in names])

    def _admitted(self, site: str) -> Admitted:
        key = self.sides[site].key.public.hex
        return Admitted(site=site, signing_key=key, node_key=f"node {site}", request="ee" * 32, time="2026-11-30")

    def _index(self, site: str) -> None:
        folder, key = self.folder / site / "state" / "search", self.sides[site].key
        with alone(folder, site=site, key=key) as writer:
            studies = IndexedStudies.none(64)
            gone = np.array([b"g" * studies.handles.dtype.itemsize], studies.handles.dtype)
            writer.write(studies, withdrawn=gone, model="aa" * 32, bit_width=64, source="")


def ledger_head(ledger: Ledger) -> str:
    """Digest of a ledger's last entry."""
    head = ledger.spent(Account(dataset_digest="da" * 32, cohort="train")).head
    assert head is not None
    return head.digest


def _groups() -> dict[str, Any]:
    """Figures by sex, of all hospitals: one group is too small to be shown."""
    shown = [_group("F", 40, 0.5), _group("M", 60, 0.7)]
    hidden = dict.fromkeys(("num_patients", "metrics", "intervals", "difference"))
    rows = [*shown, {"site": ALL_SITES, "attribute": "sex", "group": "O", "suppressed": True, **hidden}]
    noise = {
        "epsilon": 2.0,
        "delta": 0.0,
        "mechanism": "discrete_laplace",
        "shared": False,
        "num_sites": 3,
        "num_left_out": 0,
        "deviation": 3.0,
    }
    return {"groups": rows, "fairness": fairness_of(of_all_sites(rows)), "groups_noise": noise}


def _group(name: str, patients: int, recall: float) -> dict[str, Any]:
    ends = [recall - 0.1, recall + 0.1]
    return {
        "site": ALL_SITES,
        "attribute": "sex",
        "group": name,
        "suppressed": False,
        "num_patients": patients,
        "metrics": {"recall_at_10": recall, "start_recall_at_10": recall - 0.05},
        "intervals": {"recall_at_10": ends, "start_recall_at_10": ends},
        "difference": None,
    }


def write_signed_run(folder: Path, *overrides: str) -> SignedRun:
    """Write it all.

    Args:
        folder: A new folder.
        overrides: Of the run's config, as KEY=VALUE.
    """
    _Writer(folder, overrides).write()
    return SignedRun(folder)
