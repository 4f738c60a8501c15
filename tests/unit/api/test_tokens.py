"""Signed tokens of services: what is valid, what is refused, and how keys change."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from api.application import create_app
from api.errors import ApiError, unavailable
from api.identity.public_keys import FRESH_S, LONGEST_S, RETRY_S, PublicKeys, keys_of
from api.identity.settings import JwtSettings
from api.identity.tokens import ServiceTokens
from api.settings import load_group
from flink_jobs.errors import UserError
from tests.unit.api.service import TRANSACTION, Memory, client, services

ISSUER, AUDIENCE = "https://sso.example.org", "streamflow"
KEY = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "one"})


def claims(**changes: object) -> dict[str, Any]:
    now = int(time.time())
    values = {"iss": ISSUER, "aud": AUDIENCE, "sub": "gateway", "iat": now, "exp": now + 60, "scope": "score other"}
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def token(key: Any = KEY, algorithm: str = "RS256", **changes: object) -> str:  # noqa: ANN401 - any kind of key
    return jwt.encode({"alg": algorithm, "kid": "one"}, claims(**changes), key, algorithms=[algorithm])


def by_hand(algorithm: str) -> str:
    """Return a token that no library makes: unsigned, or signed with the public key as a shared secret."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = f"{part(json.dumps({'alg': algorithm, 'kid': 'one'}).encode())}.{part(json.dumps(claims()).encode())}"
    signature = hmac.digest(KEY.as_pem(private=False), head.encode(), "sha256") if algorithm == "HS256" else b""
    return f"{head}.{part(signature)}"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> JwtSettings:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    path.write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    return JwtSettings(issuer=ISSUER, audience=AUDIENCE, key_file=path)


def ask(settings: JwtSettings, text: str, path: str = "/v1/score") -> httpx.Response:
    async def run() -> httpx.Response:
        app = create_app(replace(services(Memory()), tokens=ServiceTokens(settings)))
        async with client(app, text) as http:
            if path == "/v1/score":
                return await http.post(path, json={"transaction": TRANSACTION})
            return await http.get(path)

    return asyncio.run(run())


def test_a_valid_token_has_the_scopes_of_its_claim_and_keys_work_beside_it(settings: JwtSettings) -> None:
    assert ask(settings, token()).status_code == 200
    assert ask(settings, token(aud=["other", AUDIENCE], scope=["score"])).status_code == 200
    assert ask(settings, "sfk_0123456789_secret").status_code == 200
    refused = ask(settings, token(), "/v1/decisions/t-1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "scope_missing")


REFUSED: dict[str, Callable[[], str]] = {
    "another key": lambda: token(OTHER),
    "another issuer": lambda: token(iss="https://evil.example"),
    "another audience": lambda: token(aud="another-api"),
    "no audience": lambda: token(aud=None),
    "expired": lambda: token(exp=int(time.time()) - 60),
    "no expiry": lambda: token(exp=None),
    "not yet valid": lambda: token(nbf=int(time.time()) + 3_600),
    "no subject": lambda: token(sub=None),
    "a subject with a line feed": lambda: token(sub="x\n"),
    "an unknown key id": lambda: token(RSAKey.generate_key(2048, {"kid": "unknown"})),
    "another algorithm": lambda: token(KEY, "RS384"),
    "no signature": lambda: by_hand("none"),
    "a shared secret": lambda: by_hand("HS256"),
    "no token": lambda: "eyJ.eyJ.x",
    "a token of 20,000 characters": lambda: token() + "x" * 20_000,
}
"""Made in the test: test ids must be the same in every worker, and a token must not expire before its test runs."""


@pytest.mark.parametrize("case", REFUSED)
def test_every_other_token_is_refused_in_the_same_words(settings: JwtSettings, case: str) -> None:
    answer = ask(settings, REFUSED[case]())
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_invalid")


def test_clocks_may_differ_by_the_leeway_only(settings: JwtSettings) -> None:
    now = int(time.time())
    assert ask(settings, token(exp=now - 20, iat=now + 20)).status_code == 200
    assert ask(settings, token(exp=now - 45)).status_code == 401
    assert ask(settings, token(iat=now + 90)).status_code == 401


def test_a_file_may_hold_one_key_in_pem(tmp_path: Path) -> None:
    for key, algorithm in ((KEY, "RS256"), (ECKey.generate_key("P-256"), "ES256")):
        path = tmp_path / "key.pem"
        path.write_bytes(key.as_pem(private=False))
        own = JwtSettings(issuer=ISSUER, audience=AUDIENCE, key_file=path)
        assert ask(own, token(key, algorithm)).status_code == 200


def test_a_service_sees_the_teams_of_its_claim(settings: JwtSettings) -> None:
    async def run(own: JwtSettings, text: str) -> frozenset[str] | None:
        return (await ServiceTokens(own).verify(text)).teams

    own = settings.model_copy(update={"teams_claim": "teams"})
    assert asyncio.run(run(own, token(teams=["fraud"]))) == frozenset({"fraud"})
    assert asyncio.run(run(own, token())) == frozenset()
    assert asyncio.run(run(settings, token())) is None


class Issuer:
    """Answers with keys, and counts how often."""

    def __init__(self) -> None:
        self.now = 0.0
        self.keys: list[RSAKey] = [KEY]
        self.is_away = False
        self.reads = 0

    async def read(self) -> KeySet:
        self.reads += 1
        if self.is_away:
            raise unavailable("the identity provider")
        return KeySet([*self.keys])

    def known(self) -> PublicKeys:
        return PublicKeys(self.read, lambda: self.now)


def test_a_new_key_is_read_when_a_token_names_it_and_an_old_one_is_dropped() -> None:
    issuer = Issuer()
    keys = issuer.known()

    async def kids(kid: str) -> list[str | None]:
        return [key.kid for key in (await keys.for_key(kid)).keys]

    async def run() -> None:
        assert await kids("one") == ["one"]
        issuer.keys = [RSAKey.generate_key(2048, {"kid": "two"})]
        assert await kids("two") == ["one"], "unknown keys do not make the API ask at once again"
        issuer.now += RETRY_S
        assert await kids("two") == ["two"]
        assert await kids("two") == ["two"]
        assert issuer.reads == 2
        issuer.now += FRESH_S + 1
        assert await kids("two") == ["two"]
        assert issuer.reads == 3

    asyncio.run(run())


def test_known_keys_are_used_for_an_hour_while_the_issuer_is_away() -> None:
    issuer = Issuer()
    keys = issuer.known()

    async def run() -> None:
        await keys.for_key("one")
        issuer.is_away = True
        issuer.now += LONGEST_S
        assert (await keys.for_key("one")).keys
        issuer.now += 1
        with pytest.raises(ApiError, match="503"):
            await keys.for_key("one")

    asyncio.run(run())


def test_keys_that_verify_no_signature_are_left_out() -> None:
    document = {"keys": [*KeySet([KEY]).as_dict(private=False)["keys"], {"kty": "oct", "k": "c2VjcmV0"}, {}, 7]}
    assert [key.kid for key in keys_of(document).keys] == ["one"]
    with pytest.raises(ApiError, match="503"):
        keys_of({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})


@pytest.mark.parametrize(
    "variables",
    [
        {"ISSUER": ISSUER},
        {"ISSUER": ISSUER, "AUDIENCE": "x"},
        {"ISSUER": ISSUER, "AUDIENCE": "x", "JWKS_URL": "http://sso.example.org/keys"},
        {"ALGORITHMS": '["none"]'},
        {"ALGORITHMS": '["HS256"]'},
        {"ALGORITHMS": "RS256"},
    ],
)
def test_unsafe_and_incomplete_settings_are_refused_at_the_start(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"STREAMFLOW_JWT_{name}", value)
    with pytest.raises(UserError, match="STREAMFLOW_JWT_"):
        load_group(JwtSettings, tmp_path)
