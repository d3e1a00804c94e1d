"""Attacks on the update alone: each changes what it says it changes and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Context, Error, Message, MessageType

from common.errors import ConfigError
from common.wire.flower import UPDATE, Hello, hello_reply_to_records
from simulations.attacks.registry import ATTACKS
from tests.simulations.attacks.site import HONEST, Attacker

pytestmark = pytest.mark.usefixtures("flower_runtime")

WRAPPED = [name for name in ATTACKS.names if ATTACKS.load(name).wrap is not None]


@pytest.mark.parametrize("name", sorted({*ATTACKS.names} - {"weight_lying"}))
def test_every_attacker_but_a_liar_says_who_it_is(name: str) -> None:
    assert Attacker(name).content(kind=MessageType.QUERY) == hello_reply_to_records(
        Hello(site="north", patients_band="16-31")
    )


@pytest.mark.parametrize("name", ["nan", "inf", "other_keys", "other_shape", "sign_flip", "model_replacement"])
def test_only_the_update_of_the_reply_changes(name: str) -> None:
    sent, fair = Attacker(name).content(), Attacker("none").content()
    assert sent.keys() == fair.keys()
    assert {key: sent[key] for key in sent if key != UPDATE} == {key: fair[key] for key in fair if key != UPDATE}
    assert sent[UPDATE] != fair[UPDATE]


def test_none_does_nothing() -> None:
    none = ATTACKS.load("none")
    assert (none.poison, none.wrap, none.craft, none.trigger) == (None, None, None, None)


@pytest.mark.parametrize(("name", "value"), [("nan", np.nan), ("inf", np.inf)])
def test_one_number_is_broken(name: str, value: float) -> None:
    update = Attacker(name).update()
    broken = [array[~np.isfinite(array)] for array in update.values()]
    np.testing.assert_array_equal(np.concatenate(broken), [value])
    assert np.isfinite(HONEST["weight"]).all()
    assert {key: array.shape for key, array in update.items()} == {"weight": (2, 2), "bias": (1,)}


def test_other_keys_keep_the_values() -> None:
    update = Attacker("other_keys").update()
    assert not update.keys() & HONEST.keys()
    assert [array.tolist() for array in update.values()] == [array.tolist() for array in HONEST.values()]


def test_other_shape_adds_a_row() -> None:
    shapes = {name: array.shape for name, array in Attacker("other_shape").update().items()}
    assert shapes == {"weight": (3, 2), "bias": (2,)}


def test_sign_flip_outvotes_the_others_the_other_way() -> None:
    """Two of ten: minus five times the update each, where eight send it once."""
    for name, array in Attacker("sign_flip").update().items():
        np.testing.assert_array_equal(array, -5 * HONEST[name])
        assert array.dtype == np.float32


def test_model_replacement_makes_two_of_ten_sites_count_as_all() -> None:
    for name, array in Attacker("model_replacement").update().items():
        np.testing.assert_array_equal(array, 5 * HONEST[name])


def test_model_replacement_stays_below_the_bound() -> None:
    update = Attacker("model_replacement", "federation.max_update_norm=7").update()
    flat = np.concatenate([update[name].ravel() for name in HONEST])
    honest = np.concatenate([array.ravel() for array in HONEST.values()])
    assert np.linalg.norm(flat) == pytest.approx(0.99 * 7)
    np.testing.assert_allclose(flat / honest, flat[0] / honest[0], rtol=1e-6)
    assert flat[0] / honest[0] > 0


def test_silent_site_answers_nothing() -> None:
    assert Attacker("silent").ask() is None


def test_raising_site_raises_with_a_text_that_must_not_leave() -> None:
    with pytest.raises(RuntimeError, match="John Doe"):
        Attacker("raise").ask()


@pytest.mark.parametrize("name", sorted({*WRAPPED} - {"silent", "raise"}))
def test_attack_on_a_reply_without_an_update_leaves_it(name: str) -> None:
    def refusing(message: Message, _: Context) -> Message:
        return Message(Error(1, "budget"), reply_to=message)

    attacker = Attacker(name, around=refusing)
    for number in (1, 2):
        reply = attacker.ask(number)
        assert reply is not None
        assert reply.error.reason == "budget"


def test_unknown_attack_is_refused_with_the_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"attack\.name=sign_flop: unknown; did you mean sign_flip"):
        ATTACKS.load("sign_flop")
