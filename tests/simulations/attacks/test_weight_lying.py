"""A liar's reply is in order but for its size and its update."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Context, Message, MessageType

from common.config.load import load_config
from common.errors import AdmissionError
from common.privacy.bands import MOST_PATIENTS, band_of, middle_of
from common.privacy.plan import privacy_plan
from common.privacy.release import Mechanism, Release
from common.wire.flower import RELEASES, UPDATE, Hello, hello_from_records, releases_of, releases_to_record
from simulations.attacks.weight_lying import CLAIMED_BAND
from tests.simulations.attacks.site import HONEST, Attacker, honest

pytestmark = pytest.mark.usefixtures("flower_runtime")


def test_no_larger_band_can_be_claimed() -> None:
    middle_of(CLAIMED_BAND)
    with pytest.raises(AdmissionError, match="band"):
        middle_of(band_of(MOST_PATIENTS))


def test_claims_the_largest_band_under_its_own_name() -> None:
    assert hello_from_records(Attacker("weight_lying").content(kind=MessageType.QUERY)) == Hello(
        site="north", patients_band=CLAIMED_BAND
    )


def test_sends_a_harmful_update() -> None:
    update = Attacker("weight_lying").update()
    assert sum(float((update[name] * HONEST[name]).sum()) for name in HONEST) < 0
    assert {name: array.dtype for name, array in update.items()} == dict.fromkeys(HONEST, np.dtype(np.float32))


def test_states_the_event_of_the_claimed_band() -> None:
    config = load_config(["privacy.epsilon=8"])
    own, claimed = privacy_plan(config, "16-31"), privacy_plan(config, CLAIMED_BAND)
    assert own is not None
    assert claimed is not None
    assert own.event != claimed.event

    def private(message: Message, context: Context) -> Message:
        reply = honest(message, context)
        if message.metadata.message_type == MessageType.TRAIN:
            spent = Release(name=UPDATE, mechanism=Mechanism.PATIENT_DP_SGD, event=own.event)
            reply.content[RELEASES] = releases_to_record((spent,))
        return reply

    (stated,) = releases_of(Attacker("weight_lying", "privacy.epsilon=8", around=private).content())
    assert stated.event == claimed.event
    assert stated.mechanism is Mechanism.PATIENT_DP_SGD
