"""After each round the server measures the model on public studies; where it lost, it goes back and halves the step.

What is read is public: the studies that were kept from the public fit (`part_public`), and the model, which is made of
updates that the sites have released. Nothing else enters a decision, so that it costs no patient anything: it is
post-processing. `PublicValidation` has no place for anything that a site tells.

Measure, for each public patient v, over that patient's studies i, at a temperature t, s the cosine similarity:

    m_v = mean over i of (log p(report i | image i) + log p(image i | report i)) / 2
    p(report i | image i) = exp(s(image i, report i) / t) / (same + sum over j of exp(s(image i, report j) / t))

j runs over the studies of all other patients: a patient's own studies may share a report, and are no wrong answers.
Each model is measured at that of the `TEMPERATURES` at which the mean of m_v is greatest: at one for all, a model that
is too sure of itself would gain by losing what it knows. A log-probability moves with each step, where a recall of few
studies stands still or jumps.

Rule: d_v = m_v of the new model less m_v of the best model so far, over V patients; its error is half of the interval
of a mean of pairs at `CONFIDENCE`, q sd(d) / sqrt(V), q the quantile of Student's t with V - 1 degrees of freedom.

1. mean d > 0: the new model is the best.
2. mean d < -error: back to the best model, and the server optimizer's state with it; each later step is half as long.
3. otherwise the run goes on from the new model, and the best one stays the best.

So the model that a run ends with is below its public start by no more than the error of that comparison. Edge cases: a
model that gives no numbers lost; of patients who all lost the same, the error is 0.

Shapes: N studies, V patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor

from common.encoders.dual import DualEncoder, embed_in_batches
from common.encoders.public_fit import AnchorFeatures
from common.wire.update import NamedArrays, load_into
from server.checkpoint import RunState

VALUES = "values"
"""Among the arrays of `RunState.arrays["best"]`: what the best model's patients came to, `[V]`."""
TEMPERATURES = tuple(0.01 * 2 ** (step / 2) for step in range(21))
"""From 0.01 to 10.24."""
CONFIDENCE = 0.95
_MODEL, _OPTIMIZER = "model/", "optimizer/"


@dataclass(frozen=True)
class PublicValidation:
    """What the server measures a model with.

    Attributes:
        model: A model of the run's form on the CPU, written over by each measure.
        studies: The public validation, as that model sees it, on the CPU.
    """

    model: DualEncoder
    studies: AnchorFeatures

    def measure(self, arrays: NamedArrays) -> NDArray[np.float64]:
        """Log-probability of the right answer for each patient, `[V]`; the same arrays give the same bits.

        Raises:
            AdmissionError: The arrays are not those of the model.
        """
        load_into(self.model, arrays)
        image, report = embed_in_batches(self.model, self.studies.images, self.studies.reports)
        similarity_NN = image.embedding.double() @ report.embedding.double().T
        values_V = [self._at(similarity_NN / temperature) for temperature in TEMPERATURES]
        return max(values_V, key=lambda found_V: float(found_V.mean())).numpy()

    def _at(self, scaled_NN: Tensor) -> Tensor:
        """Mean of each patient's studies, both ways, `[V]`."""
        patients_N = self.studies.patients
        value_N = (_log_right(scaled_NN, patients_N) + _log_right(scaled_NN.T, patients_N)) / 2
        num_studies_V = torch.bincount(patients_N)
        return torch.zeros(len(num_studies_V), dtype=torch.float64).index_add_(0, patients_N, value_N) / num_studies_V


@dataclass(frozen=True)
class Comparison:
    """A model against the best one before it, over the same patients.

    Attributes:
        difference: Mean of the pairs; above 0 the model is better.
        error: Half of the interval of that mean.
    """

    difference: float
    error: float

    @classmethod
    def of(cls, values_V: NDArray[np.float64], best_V: NDArray[np.float64]) -> Comparison:
        """Compare what two models came to, patient by patient."""
        change_V = values_V - best_V
        quantile = float(stdtrit(len(change_V) - 1, (1 + CONFIDENCE) / 2))
        return cls(float(change_V.mean()), quantile * float(change_V.std(ddof=1)) / math.sqrt(len(change_V)))

    @property
    def lost(self) -> bool:
        """Whether the model fell below the best by more than the error; one that gives no numbers did."""
        return not self.difference >= -self.error


class PublicWatch:
    """Judges each step of a run by the public validation; what it remembers lies in the run's state.

    Order: `open` once; then `keep_best` before each step and `judge` after it.

    Args:
        validation: What it measures with.
        trained: Names of the arrays that a step moves.
    """

    def __init__(self, validation: PublicValidation, trained: Sequence[str]) -> None:
        self._validation = validation
        self._trained = tuple(trained)

    def open(self, state: RunState) -> None:
        """Measure the model before round one, unless the state remembers it."""
        if VALUES not in state.arrays["best"]:
            values_V = self._validation.measure(state.arrays["model"])
            state.arrays["best"] = {VALUES: values_V}
            state.watched.start = float(values_V.mean())

    def keep_best(self, state: RunState) -> None:
        """Before a step: where the best model is the one that is about to change, keep it.

        A step makes new arrays, so that these stay as they are.
        """
        best, model = state.arrays["best"], state.arrays["model"]
        if best.keys() == {VALUES}:
            best |= {_MODEL + name: model[name] for name in self._trained}
            best |= {_OPTIMIZER + name: array for name, array in state.arrays["optimizer"].items()}

    def judge(self, state: RunState, *, round_number: int) -> dict[str, Any]:
        """After a step: go on from the model that it made, or go back to the best one.

        Returns:
            The part of the round's record that says what was measured and done.
        """
        best = state.arrays["best"]
        values_V = self._validation.measure(state.arrays["model"])
        compared = Comparison.of(values_V, best[VALUES])
        if compared.lost:
            _go_back(state)
            state.watched.step /= 2
        elif compared.difference > 0:
            state.arrays["best"] = {VALUES: values_V}
            state.mark_best(round_number)
        return {
            "value": _finite(float(values_V.mean())),
            "difference": _finite(compared.difference),
            "error": _finite(compared.error),
            "stepped_back": compared.lost,
            "step": state.watched.step,
        }


def _log_right(scaled_NN: Tensor, patients_N: Tensor) -> Tensor:
    """Log-probability `[N]` of each row's own column among it and the columns of other patients."""
    own_NN = patients_N[:, None] == patients_N[None, :]
    own_NN.fill_diagonal_(fill_value=False)
    return torch.log_softmax(scaled_NN.masked_fill(own_NN, -math.inf), dim=1).diagonal()


def _go_back(state: RunState) -> None:
    """Model and optimizer as the best ones were, and the steps since forgotten."""
    best = state.arrays["best"]
    state.arrays["model"] |= _under(_MODEL, best)
    state.arrays["optimizer"] = _under(_OPTIMIZER, best)
    state.arrays["best"] = {VALUES: best[VALUES]}
    state.forget_steps()


def _under(prefix: str, arrays: NamedArrays) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
