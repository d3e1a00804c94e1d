"""From words to a plan in use, whatever stands in the way; a model is a scripted server here, or one of our own."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from client.mediator import endpoint, mediator, sanitise
from client.mediator.conversation import guard, guard_digest
from client.mediator.endpoint import endpoint_of
from client.mediator.language_model import LanguageModel
from client.mediator.lexical import Lexical
from client.mediator.mediator import Mediated, Mediator
from client.policy.site_schema import MediatorLimits
from common.errors import ConfigError, PlanError
from common.files import sha256_hex
from simulations.attacks.queries import hostile_endpoint
from simulations.attacks.queries.hostile_endpoint import WAYS, Handler, serving

TODAY = date(2026, 1, 15)
WORDS = "frobnicated pleural effusion without pneumothorax"
"""With a word that the rules do not know, so that a model is asked."""
TIMEOUT_SECONDS = 1.5


def mediated(url: str, words: str = WORDS) -> Mediated:
    settings = MediatorLimits(endpoint=url, model="tiny", timeout_seconds=TIMEOUT_SECONDS)
    return Mediator(LanguageModel(settings, TODAY), today=lambda: TODAY).plan(words)


def with_plan(handler: Handler) -> None:
    """What a good model would answer, with ranges of characters that are wrong, as a model's are."""
    plan = Lexical(TODAY).propose("pleural effusion without pneumothorax").as_json()
    plan["wanted"][0]["why"] = plan["excluded"][0]["why"] = [[0, 3]]
    handler.say(json.dumps(plan))


def test_a_models_plan_is_used_where_it_passes() -> None:
    with serving(with_plan) as server:
        made = mediated(server.url)
    assert made.plan is not None
    assert (made.proposer, made.refusals) == ("language_model", ())
    assert [WORDS[span.start : span.end] for span in made.plan.wanted[0].why] == ["pleural effusion"]
    assert made.guard_digest == guard_digest() == sha256_hex(guard().encode())
    assert len(made.model_digest) == 64
    path, headers, body = server.asked[0]
    asked = json.loads(body)
    assert path == "/v1/chat/completions"
    assert headers["Host"] == server.url.split("/")[2]
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["messages"][0] == {"role": "system", "content": guard()}
    assert json.loads(asked["messages"][1]["content"])["words"] == WORDS
    assert "tools" not in asked


@pytest.mark.parametrize("way", WAYS)
def test_a_hostile_endpoint_does_no_more_than_cost_time(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile_endpoint, "DRIP_SECONDS", 6.0)
    begun = time.monotonic()
    with serving(WAYS[way]) as server:
        made = mediated(server.url)
        assert time.monotonic() - begun < TIMEOUT_SECONDS + 3  # the machine may be busy
    assert made.plan == Lexical(TODAY).propose(WORDS)
    assert made.proposer == "lexical"
    assert made.refusals
    assert {path for path, *_ in server.asked} <= {"/v1/chat/completions"}
    assert not any("script" in refusal.reason or "DROP" in refusal.reason for refusal in made.refusals)


def test_an_endpoint_that_follows_redirects_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken variant: what the test above holds of the paths that were asked does not hold of it."""
    whole = endpoint.httpx.AsyncClient
    monkeypatch.setattr(endpoint.httpx, "AsyncClient", lambda **given: whole(**{**given, "follow_redirects": True}))
    with serving(WAYS["redirect"]) as server:
        mediated(server.url)
    assert "/elsewhere" in {path for path, *_ in server.asked}


def test_no_model_is_asked_where_rules_explain_all_words() -> None:
    with serving(with_plan) as server:
        made = mediated(server.url, "pleural effusion without pneumothorax")
        assert server.asked == []
    assert (made.proposer, made.coverage, made.model_digest) == ("lexical", 1.0, "")


def test_plans_are_kept_for_words_of_one_plain_form_and_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediator, "MOST_CACHED", 2)
    plans = Mediator(today=lambda: TODAY)
    first = plans.plan("pleural effusion")
    again = plans.plan(" pleural\u200b  effusion ")
    assert (first.cached, again.cached, again.plan) == (False, True, first.plan)
    assert again.changes
    plans.plan("meningioma")
    plans.plan("ascites")
    assert not plans.plan("pleural effusion").cached


def test_a_model_that_failed_is_asked_again() -> None:
    with serving(WAYS["error"]) as server:
        settings = MediatorLimits(endpoint=server.url, model="tiny", timeout_seconds=TIMEOUT_SECONDS)
        plans = Mediator(LanguageModel(settings, TODAY), today=lambda: TODAY)
        assert [plans.plan(WORDS).cached for _ in range(2)] == [False, False]
        assert len(server.asked) == 2


def test_words_that_are_too_many_or_name_a_patient_give_no_plan() -> None:
    with serving(with_plan) as server:
        long, named = mediated(server.url, "x" * 2001), mediated(server.url, f"{WORDS}, MRN 1234567")
        assert server.asked == []
    assert long.plan is named.plan is None
    assert {refusal.check for refusal in long.refusals} == {"length"}
    assert {refusal.check for refusal in named.refusals} == {"identifiers"}


def test_hidden_negation_is_one_and_without_the_table_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "ascites, n\u043e effusion"
    made = Mediator(today=lambda: TODAY).plan(words)
    assert made.plan is not None
    assert len(made.plan.excluded) == 1
    monkeypatch.setattr(sanitise, "_look_alikes", dict)  # the broken variant
    broken = Mediator(today=lambda: TODAY).plan(words)
    assert broken.plan is not None
    assert not broken.plan.excluded


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://8.8.8.8/v1", "neither this machine nor in a private network"),
        ("http://169.254.169.254/latest", "neither this machine nor"),
        ("http://[::ffff:8.8.8.8]/v1", "neither this machine nor"),
        ("http://0.0.0.0:80/v1", "neither this machine nor"),
        ("ftp://127.0.0.1/v1", "is no address of an endpoint"),
        ("http://127.0.0.1:99999/v1", "is no address of an endpoint"),
        ("http://user:word@127.0.0.1/v1", "holds a user or a password"),
        ("http://no-such-host.invalid/v1", "the name is not found"),
    ],
)
def test_addresses_that_may_not_be_spoken_to(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        endpoint_of(url, key_file="", timeout_seconds=1, allow_public=False)


def test_public_addresses_need_leave_and_encryption() -> None:
    assert (
        str(endpoint_of("https://8.8.8.8/v1", key_file="", timeout_seconds=1, allow_public=True).address) == "8.8.8.8"
    )
    with pytest.raises(ConfigError, match="not encrypted"):
        endpoint_of("http://8.8.8.8/v1", key_file="", timeout_seconds=1, allow_public=True)
    with pytest.raises(ConfigError, match="neither"):
        endpoint_of("https://169.254.169.254/v1", key_file="", timeout_seconds=1, allow_public=True)


def test_a_name_that_later_points_elsewhere_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(with_plan) as server:
        port = server.server_address[1]
        found: Callable[..., object] = lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))]  # noqa: E731
        monkeypatch.setattr(endpoint.socket, "getaddrinfo", found)
        where = endpoint_of(f"http://model.hospital:{port}/v1", key_file="", timeout_seconds=5, allow_public=False)
        monkeypatch.setattr(endpoint.socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up again"))
        assert b"choices" in where.post("/chat/completions", b"{}")
        assert server.asked[0][1]["Host"] == f"model.hospital:{port}"


def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(with_plan) as server:
        assert mediated(server.url).proposer == "language_model"


def test_an_endpoint_that_is_not_there_is_said() -> None:
    with serving(with_plan) as server:
        where = endpoint_of(server.url, key_file="", timeout_seconds=2, allow_public=False)
    with pytest.raises(PlanError, match="cannot be reached"):
        replace(where).post("/chat/completions", b"{}")
