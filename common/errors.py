"""One error tree. Each error is one line that names the file, the field and the remedy, and carries its exit code.

Exit codes: 1 a check failed, 2 usage or config, 3 policy or budget refusal, 4 trust failure.
Errors are raised anywhere and caught only at the command's edge (`wardround.py`) and at the two Flower edges,
where a site's error becomes a reason code. The text of one of these stays in the site's log; that of any other error,
which may quote a patient's data, stands nowhere (`common/service/log_format.py`).
"""

from __future__ import annotations


class WardroundError(Exception):
    """Base of every error that wardround raises on purpose.

    Attributes:
        exit_code: The command's exit code.
        reason: Short code that may leave a site; the message never does.
    """

    exit_code: int = 1
    reason: str = "failed"


class ConfigError(WardroundError):
    """A config key, value or command-line option is wrong."""

    exit_code = 2
    reason = "config"


class DataError(WardroundError):
    """A file of studies cannot be read, or too many of its rows are bad."""

    exit_code = 2
    reason = "data"


class PlanError(WardroundError):
    """What was proposed for a query is not a plan in the grammar."""

    exit_code = 2
    reason = "plan"


class CheckFailed(WardroundError):
    """A run ended without the result it was asked for."""

    reason = "check_failed"


class CannotTell(CheckFailed):
    """A check was asked for what nothing that is there can show; it neither holds nor fails."""

    reason = "cannot_tell"


class AggregationError(WardroundError):
    """The admitted updates cannot be aggregated by the chosen rule."""

    reason = "aggregation"


class CheckpointError(WardroundError):
    """A checkpoint is missing, damaged or belongs to another run."""

    reason = "checkpoint"


class AdmissionError(WardroundError):
    """A reply is malformed; the site is dropped for the round and the reason is counted."""

    reason = "malformed"


class PolicyRefusal(WardroundError):
    """A site's own policy refuses what it was asked to do or to send."""

    exit_code = 3
    reason = "policy"


class BundleRefused(PolicyRefusal):
    """A site was asked to run a bundle that it has not approved, or not any more."""

    reason = "bundle"


class BudgetExhausted(PolicyRefusal):
    """The privacy budget does not cover what was asked for."""

    reason = "budget"


class AccountingError(WardroundError):
    """Epsilon cannot be vouched for: two accountants differ, and none of their figures is reported."""

    reason = "accounting"


class LedgerError(WardroundError):
    """A site's ledger is damaged, of another site or cannot be written: nothing more is released."""

    exit_code = 4
    reason = "ledger"


class TrustError(WardroundError):
    """A signature, digest or certificate does not hold."""

    exit_code = 4
    reason = "trust"


class EvidenceError(TrustError):
    """What a message should prove of the other side's log is missing, or does not hold."""

    reason = "evidence"


class ReplayedError(EvidenceError):
    """A message vouches for no more than an earlier one did: it was sent before."""

    reason = "replayed"


class PairKeyError(TrustError):
    """A site that noise is to be shared with is not shown to be a member, or the own key is not that of now."""

    reason = "pair_key"


class CohortSmall(PolicyRefusal):
    """Fewer sites are there to share noise with than the hospital asks for."""

    reason = "cohort_small"


class ContextReused(PolicyRefusal):
    """A site is asked to draw shared noise anew that it has drawn: two messages would tell what it hides."""

    reason = "context_reused"


class StaleError(EvidenceError):
    """A task is of a round before one that this site has answered."""

    reason = "stale"
