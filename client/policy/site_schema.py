"""Structured schema of `site.yaml`: what a hospital sets for itself (OmegaConf structured configs).

What has no default must be given. Every default refuses: a hospital that leaves a list out allows nothing of it.
`configs/site.example.yaml` says what each key means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from client.data.patients import EXACT
from client.data.rows import DEFAULT_SITE_COLUMN

ANY = "any"
"""The word in a list with which a hospital chooses to allow everything of its kind."""


@dataclass(frozen=True)
class SiteData:
    """The hospital's studies.

    Attributes:
        name: The hospital's own name for its patients' data: what the budget is kept under. It stays when studies are
            added or mended; data sets that share patients share one name.
        adapter: Layout of the folder.
        root: The folder.
        split: Column of `splits.csv` in the folder; `published`: of the data set's authors; "" cuts by patient, the
            same way for every run.
        site_column: Column that names the site.
        test_fraction: Share of the patients held out for evaluation where there is no `split`.
        max_bad_fraction: Greatest share of the rows that may be unreadable.
        allow_burned_in: Whether DICOM images that declare burned-in annotation are read.
        least_patients: Fewest patients, training and held out together, with which the hospital takes part.
        pixel_bits: Bits of a grey value in picture files of more than eight; 0 where that is not declared.
        same_patients: "exact", or "folded": identifiers that differ in case, width, white space or leading zeros alone
            are one patient's.
    """

    name: str = MISSING
    adapter: str = MISSING
    root: Path = MISSING
    split: str = ""
    site_column: str = DEFAULT_SITE_COLUMN
    test_fraction: float = 0.2
    max_bad_fraction: float = 0.02
    allow_burned_in: bool = False
    least_patients: int = 5
    pixel_bits: int = 0
    same_patients: str = EXACT


@dataclass(frozen=True)
class SiteAnchors:
    """The public studies of the consortium's runs, as this hospital has them.

    Attributes:
        root: Their folder; "" where they lie among the hospital's own studies, and the keys below say nothing then.
        adapter: Layout of the folder.
        split: Column of `splits.csv` in the folder that says which studies are public; "" goes by `site_column`.
        site_column: Column that holds "public" for a public study.
    """

    root: str = ""
    adapter: str = "manifest"
    split: str = ""
    site_column: str = DEFAULT_SITE_COLUMN


@dataclass(frozen=True)
class SiteBudget:
    """What the patients of a data set may spend. Unit: the patient; neighbours: add or remove one patient.

    Attributes:
        epsilon: Over all runs.
        delta: At which epsilon is stated.
        epsilon_per_run: Of one run.
    """

    epsilon: float = MISSING
    delta: float = MISSING
    epsilon_per_run: float = MISSING


@dataclass(frozen=True)
class TrainingLimits:
    """Which runs may train here.

    Attributes:
        least_noise_multiplier: Least noise over the sensitivity.
        losses: Names of contrastive losses.
        encoders: Names of encoders.
        config_digests: SHA-256 of the configurations that were approved.
        bundle_hashes: SHA-256 of the bundles that were approved.
        devices: Patterns of torch devices.
        hours: Local hours in which a round may start, "22:00-06:00"; "" is always.
        refuse_hopeless: Whether a run is refused whose noise is foretold to drown what its patients teach.
    """

    least_noise_multiplier: float = MISSING
    losses: list[str] = field(default_factory=list)
    encoders: list[str] = field(default_factory=list)
    config_digests: list[str] = field(default_factory=list)
    bundle_hashes: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    hours: str = ""
    refuse_hopeless: bool = False


@dataclass(frozen=True)
class SharedNoiseLimits:
    """What the hospital asks of runs in which hospitals share noise.

    Attributes:
        least_peers: Fewest hospitals to share it with in a round.
        most_epsilon_alone: Of the hospital's patients over all runs, if every hospital that noise was shared with told
            the server what it knows.
    """

    least_peers: int = 2
    most_epsilon_alone: float = 1000.0


@dataclass(frozen=True)
class UpdateLimits:
    """The largest model update that may leave.

    Attributes:
        most_values: Numbers in it.
        most_bytes: Bytes of it.
        keys: Patterns of the names of its arrays.
    """

    most_values: int = MISSING
    most_bytes: int = MISSING
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReleaseLimits:
    """What may leave beside and with the update.

    Attributes:
        allowed: Name of a record in a reply, and the mechanisms that may have made it.
        least_cell: Least number of patients behind a count that is shown.
    """

    allowed: dict[str, list[str]] = field(default_factory=dict)
    least_cell: int = MISSING


@dataclass(frozen=True)
class AgentNetwork:
    """Where the agent may be asked how it fares, on this machine alone, and how it reaches the server.

    Ports are off unless a hospital turns them on: several agents may run on one machine, and no two can have one port.

    Attributes:
        metrics_port: Where Prometheus asks; 0 is nowhere.
        health_port: Where health is asked for (grpc.health.v1); 0 is nowhere.
        proxy: The hospital's HTTP proxy, `http://HOST:PORT`; "" goes straight.
        proxy_login: File of mode 0600 with `USER:PASSWORD` for the proxy; "" for none.
    """

    metrics_port: int = 0
    health_port: int = 0
    proxy: str = ""
    proxy_login: str = ""


@dataclass(frozen=True)
class SearchLimits:
    """What other hospitals may find out of this one's studies by searching.

    Attributes:
        allowed: Names of the hospitals that may search here.
        most_answers: Studies in one answer.
        distance_step: Distances are told rounded up to a multiple of so many bits.
        hours: Local hours in which questions are answered; "" is always.
        questions_per_hour: Of one hospital.
        nearby_bits: Codes within so many bits of each other are near.
        nearby_per_day: Questions of one hospital near one code.
        studies_per_day: Different studies that one hospital is told of.
        handle_days: How long a study that was told can be found again by its handle.
        server_port: Where the consortium's server takes this hospital's own questions; 0 asks nobody else.
    """

    allowed: list[str] = field(default_factory=list)
    most_answers: int = 10
    distance_step: int = 4
    hours: str = ""
    questions_per_hour: int = 60
    nearby_bits: int = 12
    nearby_per_day: int = 10
    studies_per_day: int = 300
    handle_days: int = 7
    server_port: int = 0


@dataclass(frozen=True)
class PageAccess:
    """How people come in to the page of `wardround site serve`: by the link that it prints, or through a reverse proxy.

    Attributes:
        address: Of the page at the hospital's reverse proxy on this machine, `https://HOST`; "" lets in by the link.
        user_header: Header in which the proxy names who is logged in.
        secret_header: Header in which it sends the secret.
        secret_file: File of mode 0600 that holds the secret.
    """

    address: str = ""
    user_header: str = "X-Remote-User"
    secret_header: str = "X-Wardround-Secret"  # noqa: S105 - the header's name
    secret_file: str = ""


@dataclass(frozen=True)
class MediatorLimits:
    """Who helps to turn a clinician's words into a plan: rules alone, or rules and a language model of the hospital's.

    Attributes:
        endpoint: Of an OpenAI-compatible model, `http://HOST:PORT/v1`; "" asks none.
        model: The name by which the endpoint knows it.
        key_file: File of mode 0600 with the endpoint's key; "" where it asks for none.
        folder: Of a causal model in Hugging Face's layout, instead of an endpoint; "" for none.
        timeout_seconds: Within which a model has to answer in full.
        allow_public: Whether an endpoint outside this machine and private networks may be asked; words would leave.
        keep_words: Whether the words of this hospital's queries stand in its own record of them.
        relevance: File of how likely a hit that was held against a plan is relevant, as `wardround mediator calibrate`
            wrote it for the model that is searched with; "" for none.
    """

    endpoint: str = ""
    model: str = ""
    key_file: str = ""
    folder: str = ""
    timeout_seconds: float = 20.0
    allow_public: bool = False
    keep_words: bool = False
    relevance: str = ""


@dataclass(frozen=True)
class SiteConfig:
    """A hospital's own configuration.

    Attributes:
        site: Its name in the consortium.
        state_folder: Folder of its ledger, key and log.
        data: Its studies.
        anchors: The public studies.
        budget: What its patients may spend.
        training: Which runs may train here.
        privacy: What is asked of noise that hospitals share.
        update: The largest model update.
        releases: What may leave.
        agent: Where the agent may be asked how it fares, and how it reaches the server.
        search: What other hospitals may find out by searching.
        page: How people come in to its own page.
        mediator: Who helps to turn words into a plan.
    """

    site: str = MISSING
    state_folder: Path = MISSING
    data: SiteData = field(default_factory=SiteData)
    anchors: SiteAnchors = field(default_factory=SiteAnchors)
    budget: SiteBudget = field(default_factory=SiteBudget)
    training: TrainingLimits = field(default_factory=TrainingLimits)
    privacy: SharedNoiseLimits = field(default_factory=SharedNoiseLimits)
    update: UpdateLimits = field(default_factory=UpdateLimits)
    releases: ReleaseLimits = field(default_factory=ReleaseLimits)
    agent: AgentNetwork = field(default_factory=AgentNetwork)
    search: SearchLimits = field(default_factory=SearchLimits)
    page: PageAccess = field(default_factory=PageAccess)
    mediator: MediatorLimits = field(default_factory=MediatorLimits)


RANGES: dict[str, tuple[float, float]] = {
    "data.test_fraction": (0.01, 0.9),
    "data.max_bad_fraction": (0, 1),
    "data.least_patients": (1, 10**6),
    "data.pixel_bits": (0, 16),
    "budget.epsilon": (0, 1000),
    "budget.delta": (1e-12, 0.1),
    "budget.epsilon_per_run": (0, 1000),
    "training.least_noise_multiplier": (0, 1e4),
    "privacy.least_peers": (1, 1000),
    "privacy.most_epsilon_alone": (0, 1000),
    "update.most_values": (1, 10**12),
    "update.most_bytes": (1, 10**13),
    "releases.least_cell": (1, 10**6),
    "search.most_answers": (1, 1000),
    "search.distance_step": (1, 64),
    "search.questions_per_hour": (1, 10**6),
    "search.nearby_bits": (0, 256),
    "search.nearby_per_day": (1, 10**6),
    "search.studies_per_day": (1, 10**9),
    "search.handle_days": (1, 365),
    "search.server_port": (0, 65535),
    "mediator.timeout_seconds": (0.1, 600),
    "agent.metrics_port": (0, 65535),
    "agent.health_port": (0, 65535),
}
"""Least and greatest value of each number, both allowed."""
