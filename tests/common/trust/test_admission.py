"""An admission answers one request, and is the word of the server that was asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from common.errors import TrustError
from common.trust.admission import Admission, read_admission
from common.trust.consortium import Consortium
from common.trust.keys import SigningKey
from common.trust.node_key import NodeKey
from common.trust.request import JoinRequest, read_request, write_request
from common.trust.times import as_text
from tests.common.trust.pki import NOW, Authority

ROOT = Authority.new().root


@pytest.fixture
def server(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "server.pem")


@pytest.fixture
def request_(tmp_path: Path, server: SigningKey) -> JoinRequest:
    signing_key, node_key = SigningKey.create(tmp_path / "key.pem"), NodeKey.create(tmp_path / "node")
    return read_request(
        write_request(consortium=server.public, site="hospital-1", signing_key=signing_key, node_key=node_key, now=NOW)
    )


@pytest.fixture
def admission(server: SigningKey, request_: JoinRequest) -> Admission:
    return Admission(
        site="hospital-1",
        signing_key=request_.signing_key,
        node_key=request_.node_public_key.fingerprint,
        admitted=as_text(NOW),
        expires=as_text(ROOT.end),
        consortium=Consortium(
            name="north-sea",
            version=1,
            hosts=("localhost",),
            port=8443,
            signing_key=server.public.hex,
            roots=(ROOT.pem,),
        ),
    )


def test_admission_answers_its_request(admission: Admission, server: SigningKey, request_: JoinRequest) -> None:
    assert read_admission(admission.sealed(server), request=request_) == admission


@pytest.mark.parametrize(
    "values", [{"site": "hospital-2"}, {"signing_key": "00" * 32}, {"node_key": "SHA256:other"}], ids=str
)
def test_admission_of_another_site_or_key_is_refused(
    admission: Admission, server: SigningKey, request_: JoinRequest, values: dict[str, Any]
) -> None:
    with pytest.raises(TrustError, match="other keys or another name"):
        read_admission(replace(admission, **values).sealed(server), request=request_)


def test_admission_by_another_server_is_refused(
    tmp_path: Path, admission: Admission, server: SigningKey, request_: JoinRequest
) -> None:
    other = SigningKey.create(tmp_path / "other.pem")
    with pytest.raises(TrustError, match="does not hold"):
        read_admission(admission.sealed(other), request=request_)
    elsewhere = replace(admission.consortium, signing_key=other.public.hex)
    with pytest.raises(TrustError, match="another server's key"):
        read_admission(replace(admission, consortium=elsewhere).sealed(server), request=request_)


def test_changed_admission_is_refused(admission: Admission, server: SigningKey, request_: JoinRequest) -> None:
    content = admission.sealed(server).replace(b'"port": 8443', b'"port": 8444')
    with pytest.raises(TrustError, match="does not hold"):
        read_admission(content, request=request_)


def test_admission_ends(admission: Admission) -> None:
    admission.expiry.check(NOW - timedelta(minutes=30))
    with pytest.raises(TrustError, match=r"admission expired.*wardround site join"):
        admission.expiry.check(ROOT.end)
