"""A cohort on disk as a coordinating centre and one hospital have it: public studies, own studies, one fixed split."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from flwr.app import Message

from client.data.anchor_folder import AnchorFolder
from client.deploy.approval import Approval, Approvals
from client.deploy.bundle import build_bundle
from client.state_folder import KEY_FILE
from common.bundle import Bundle, bundle_of
from common.code_digest import code_digest
from common.config.load import load_config
from common.trust.keys import SigningKey
from common.wire.flower import Task, task_to_records
from common.wire.flower_arrays import arrays_to_record
from common.wire.update import from_safetensors
from simulations.cohorts.plan import CohortPlan
from simulations.cohorts.write import write_cohort
from tests.conftest import TINY

SPLIT = "fixed"
PLAN = CohortPlan(
    seed=0, num_sites=2, patients_per_site=40, public_patients=60, image_size=32, site_shift=0.5, confounder=False
)
HELD_OUT_OF_FIVE = 4
"""Every so many patients of a site one is held out."""


@dataclass(frozen=True)
class Cohort:
    """All studies in one folder, as a simulation reads them, and the public ones in another.

    Attributes:
        whole: All of them, with `splits.csv`.
        public: The public ones.
        cache: Where features are kept.
    """

    whole: Path
    public: Path
    cache: Path

    @classmethod
    def new(cls, folder: Path) -> Cohort:
        """Draw a cohort and cut it."""
        whole = write_cohort(PLAN, folder / "whole")
        rows = read_rows(whole)
        roles = {row["split_group"]: _role(row, number) for number, row in enumerate(rows)}
        write_splits(whole, roles)
        public = copy_studies(whole, folder / "public", (row for row in rows if row["site"] == "public"))
        return cls(whole, public, folder / "cache")

    @property
    def sites(self) -> list[str]:
        """Names of the hospitals."""
        return sorted({row["site"] for row in read_rows(self.whole)} - {"public"})

    def overrides(self, *more: str) -> list[str]:
        """A run of these studies that a hospital can approve."""
        data = ["data.adapter=manifest", f"data.root={self.whole}", f"data.split={SPLIT}"]
        return [*TINY, *data, f"encoder.cache={self.cache}", "evaluation.epsilon=20", *more]

    def bundle(self, *more: str) -> bytes:
        """The bundle of such a run."""
        folder = AnchorFolder(root=self.public, adapter="manifest")
        return build_bundle(load_config(self.overrides(*more)), folder, bands=(), progress=lambda _: None).content


@dataclass(frozen=True)
class Hospital:
    """One hospital's folder.

    Attributes:
        folder: Where its site.yaml lies.
        name: Its name.
    """

    folder: Path
    name: str

    @classmethod
    def new(cls, folder: Path, cohort: Cohort, name: str) -> Hospital:
        """A hospital with its key, its part of a cohort, and a policy that allows what it approves."""
        rows = [row for row in read_rows(cohort.whole) if row["site"] == name]
        copy_studies(cohort.whole, folder / "studies", rows)
        shutil.copy(cohort.whole / "splits.csv", folder / "studies" / "splits.csv")
        SigningKey.create(folder / "state" / KEY_FILE)
        hospital = cls(folder, name)
        hospital.write(SITE_YAML | {"site": name, "anchors": {"root": str(cohort.public)}})
        return hospital

    @property
    def site_file(self) -> Path:
        """Its site.yaml."""
        return self.folder / "site.yaml"

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    @property
    def key(self) -> SigningKey:
        """Its key."""
        return SigningKey.load(self.state / KEY_FILE)

    @property
    def approvals(self) -> Approvals:
        """What it approved."""
        return Approvals(self.state, site=self.name, key=self.key)

    def write(self, content: dict[str, Any]) -> None:
        """Write its site.yaml."""
        self.site_file.write_text(yaml.safe_dump(content), encoding="utf-8")

    def edit(self, section: str, **changes: object) -> None:
        """Change keys of a section of its site.yaml."""
        content = yaml.safe_load(self.site_file.read_text(encoding="utf-8"))
        content[section] |= changes
        self.write(content)

    def approve(self, content: bytes, *, now: datetime | None = None) -> Approval:
        """Approve a bundle, without looking at it."""
        file = self.folder / "run.bundle"
        file.write_bytes(content)
        bundle, when = bundle_of(content), now or datetime.now(UTC)
        self.approvals.give(file, bundle, code=code_digest(), epsilon=8.0, delta=1e-3, now=when)
        return self.approvals.of(bundle.hash)


SITE_YAML: dict[str, Any] = {
    "state_folder": "state",
    "data": {"name": "chest", "adapter": "manifest", "root": "studies", "split": SPLIT},
    "budget": {"epsilon": 200.0, "delta": 1e-3, "epsilon_per_run": 200.0},
    "training": {
        "least_noise_multiplier": 0.1,
        "losses": ["anchor_contrast"],
        "encoders": ["scratch"],
        "devices": ["cpu"],
    },
    "update": {"most_values": 100_000, "most_bytes": 400_000, "keys": ["*"]},
    "releases": {
        "allowed": {"site": ["public"], "update": ["patient_dp_sgd"], "statistics": ["discrete_laplace"]},
        "least_cell": 11,
    },
}


def task_of(bundle: Bundle, *, round_number: int = 1, train: bool = True) -> Message:
    """The message with which a round asks for training, or for the last measurement."""
    model = arrays_to_record(from_safetensors(bundle.start, source="the bundle"))
    records = task_to_records(Task(round_number=round_number, config_digest=bundle.run, train=train), model)
    return Message(records, dst_node_id=1, message_type="train")


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Rows of a folder's manifest."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def copy_studies(source: Path, folder: Path, rows: Iterable[dict[str, str]]) -> Path:
    """A manifest folder of some rows of another one."""
    kept = list(rows)
    for row in kept:
        target = folder / row["image_path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / row["image_path"], target)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, kept[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    return folder


def write_splits(folder: Path, roles: dict[str, str]) -> None:
    """A file of one fixed split."""
    with (folder / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("split_group", SPLIT), *roles.items()])


def _role(row: dict[str, str], number: int) -> str:
    if row["site"] == "public":
        return "public"
    return "train" if number % 5 < HELD_OUT_OF_FIVE else "test"
