"""Tokens of an identity provider that really answers, good ones and all kinds of bad ones."""

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_encode

from services.core.settings import Settings
from tests.factories.access import bearer
from tests.factories.api import Api
from tests.factories.issuer import Issuer, private_key, public_jwk, unsigned
from tests.fakes import Seconds

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
"""A moment that tests of seconds stand still at."""
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def settings(trusting_settings: Settings) -> Settings:
    return trusting_settings


async def answer(api: Api, token: str, path: str = "/v1/me") -> tuple[int, str]:
    response = await api.client.get(path, headers=bearer(token))
    return response.status_code, response.json().get("code", "")


class TestGoodTokens:
    @pytest.mark.parametrize("key", ["rsa-1", "ec-1"])
    async def test_a_user_is_who_the_provider_says(
        self, api: Api, issuer: Issuer, key: str
    ) -> None:
        response = await api.client.get("/v1/me", headers=bearer(issuer.token(key)))
        me = response.json()
        assert (me["id"], me["kind"], me["name"], me["role"]) == (
            "token:u-17", "token", "m.curie", "reviewer",
        )  # fmt: skip

    async def test_of_several_roles_the_one_that_may_do_most_counts(
        self, api: Api, issuer: Issuer
    ) -> None:
        token = issuer.token(roles=["planning", "it", "physicists"])
        response = await api.client.get("/v1/me", headers=bearer(token))
        assert response.json()["role"] == "admin"

    async def test_clocks_may_differ_a_little(
        self, api: Api, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Still(dt.datetime):
            @classmethod
            def now(cls, tz: dt.tzinfo | None = None) -> "Still":
                return cls.fromtimestamp(NOW, tz)

        monkeypatch.setattr("jwt.api_jwt.datetime", Still)
        for changes, status in (
            ({"exp": NOW - 9}, 200),
            ({"exp": NOW - 10}, 401),
            ({"nbf": NOW + 10, "iat": NOW + 10}, 200),
            ({"nbf": NOW + 11}, 401),
            ({"iat": NOW + 11}, 401),
        ):
            claims: dict[str, Any] = {"iat": NOW, "nbf": NOW, "exp": NOW + 300} | changes
            assert (await answer(api, issuer.token(**claims)))[0] == status, changes

    async def test_one_audience_of_several_is_enough(self, api: Api, issuer: Issuer) -> None:
        assert (await answer(api, issuer.token(aud=["x", "cervicontour"])))[0] == 200

    async def test_api_keys_go_on_working(self, api: Api) -> None:
        assert (await api.client.get("/v1/series")).status_code == 200

    async def test_a_new_key_is_found_and_an_old_one_forgotten(
        self, api: Api, issuer: Issuer
    ) -> None:
        clock = still_clock(api)
        assert (await answer(api, issuer.token()))[0] == 200
        issuer.keys = [public_jwk("rsa-2")]
        clock.now += 20
        assert (await answer(api, issuer.token("rsa-2")))[0] == 200
        assert await answer(api, issuer.token("rsa-1")) == (401, "unauthenticated")


class TestBadTokens:
    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "https://elsewhere.example"}, {"iss": None}, {"aud": "another service"},
            {"aud": None}, {"aud": []}, {"exp": -HOUR}, {"exp": None}, {"nbf": HOUR}, {"iat": HOUR},
            {"sub": None}, {"sub": ""}, {"sub": "x" * 241},
            {"sub": "line\nbreak"}, {"exp": "tomorrow"},
        ],
        ids=str,
    )  # fmt: skip
    async def test_claims_that_are_not_for_this_service_now(
        self, api: Api, issuer: Issuer, changes: dict[str, Any]
    ) -> None:
        now = int(
            time.time()
        )  # no moment of the collection: all processes of a run name tests alike
        claims: dict[str, Any] = {
            name: now + int(value.total_seconds()) if isinstance(value, dt.timedelta) else value
            for name, value in changes.items()
        }
        assert await answer(api, issuer.token(**claims)) == (401, "unauthenticated")

    @pytest.mark.parametrize("roles", [None, [], "other", ["other"], {"it": 1}, 7, [["it"]]])
    async def test_a_user_without_a_role_is_known_but_not_served(
        self, api: Api, issuer: Issuer, roles: object
    ) -> None:
        assert await answer(api, issuer.token(roles=roles)) == (403, "role_missing")

    @pytest.mark.parametrize("algorithm", ["none", "None", "", None, "HS256"])
    async def test_no_signature_is_no_token(
        self, api: Api, issuer: Issuer, algorithm: str | None
    ) -> None:
        token = unsigned({"alg": algorithm, "kid": "rsa-1", "typ": "JWT"}, issuer.claims())
        assert await answer(api, token) == (401, "unauthenticated")
        assert await answer(api, token + "AAAA") == (401, "unauthenticated")

    async def test_the_public_key_is_no_shared_secret(self, api: Api, issuer: Issuer) -> None:
        secret = private_key("rsa-1").public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )  # fmt: skip
        # what the library refuses to make, an attacker makes without it
        header = unsigned({"alg": "HS256", "kid": "rsa-1"}, issuer.claims()).rstrip(".")
        signature = jwt.get_algorithm_by_name("HS256").sign(header.encode(), secret)
        token = f"{header}.{base64url_encode(signature).decode()}"
        assert await answer(api, token) == (401, "unauthenticated")

    async def test_another_key_of_the_same_name_does_not_sign(
        self, api: Api, issuer: Issuer
    ) -> None:
        token = issuer.token("rsa-2", headers={"kid": "rsa-1"})
        assert await answer(api, token) == (401, "unauthenticated")

    async def test_an_algorithm_that_is_not_the_keys_does_not_count(
        self, api: Api, issuer: Issuer
    ) -> None:
        token = issuer.token("ec-1", headers={"kid": "rsa-1"})
        assert await answer(api, token) == (401, "unauthenticated")

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda token: token[:-5],
            lambda token: token.replace(".", "..", 1),
            lambda token: token + ".x",
            lambda token: "x." + token.split(".", 1)[1],
            lambda token: token.split(".")[0] + ".e30." + token.split(".")[2],
            lambda token: "..",
            lambda token: "a.b.c",
        ],
    )
    async def test_what_was_spoilt(
        self, api: Api, issuer: Issuer, spoil: Callable[[str], str]
    ) -> None:
        assert await answer(api, spoil(issuer.token())) == (401, "unauthenticated")

    @pytest.mark.parametrize(
        "headers", [{"crit": ["x"], "x": 1}, {"kid": None}, {"kid": 7}, {"kid": ""}]
    )
    async def test_headers_that_are_not_understood(
        self, api: Api, issuer: Issuer, headers: dict[str, object]
    ) -> None:
        header = {"alg": "RS256", "kid": "rsa-1", **headers}
        unsealed = unsigned(header, issuer.claims()).rstrip(".")
        key = jwt.get_algorithm_by_name("RS256")
        signature = key.sign(unsealed.encode(), private_key("rsa-1"))
        token = f"{unsealed}.{base64url_encode(signature).decode()}"
        assert await answer(api, token) == (401, "unauthenticated")

    async def test_addresses_in_a_token_are_never_asked(self, api: Api, issuer: Issuer) -> None:
        own = issuer.url + "/stolen"
        headers = {"jku": own, "x5u": own, "jwk": public_jwk("rsa-2"), "kid": own}
        token = issuer.token("rsa-2", headers=headers)
        assert await answer(api, token) == (401, "unauthenticated")
        assert "/stolen" not in issuer.paths

    @pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # it is the test's
    @pytest.mark.parametrize("key", ["rsa-short-1", "ed-1"])
    async def test_only_the_providers_strong_keys_of_signatures_count(
        self, api: Api, issuer: Issuer, key: str
    ) -> None:
        issuer.keys = [
            public_jwk("rsa-short-1"),
            public_jwk("ed-1", use="enc"),
            {"kty": "oct", "kid": "oct-1", "k": "AAAA", "alg": "HS256"},
        ]
        assert await answer(api, issuer.token(key)) == (401, "unauthenticated")


def still_clock(api: Api) -> Seconds:
    """Of the keys; to be set before they are first asked for."""
    clock = Seconds()
    api.app.state.gate.tokens._keys._now = clock
    return clock


class TestProvider:
    async def test_invented_key_names_make_nobody_ask(self, api: Api, issuer: Issuer) -> None:
        still_clock(api)
        assert (await answer(api, issuer.token()))[0] == 200
        for number in range(50):
            token = issuer.token(headers={"kid": f"invented-{number}"})
            assert await answer(api, token) == (401, "unauthenticated")
        assert issuer.fetches == 1

    async def test_keys_are_asked_for_once_however_many_come(
        self, api: Api, issuer: Issuer
    ) -> None:
        for _ in range(20):
            assert (await answer(api, issuer.token()))[0] == 200
        assert issuer.fetches == 1

    async def test_known_keys_outlive_the_provider(self, api: Api, issuer: Issuer) -> None:
        clock = still_clock(api)
        assert (await answer(api, issuer.token()))[0] == 200
        issuer.is_down = True
        clock.now += 3600
        assert (await answer(api, issuer.token()))[0] == 200
        clock.now += 20
        token = issuer.token("rsa-2")
        response = await api.client.get("/v1/me", headers=bearer(token))
        assert (response.status_code, response.json()["code"]) == (
            503, "identity_provider_unavailable",
        )  # fmt: skip
        assert int(response.headers["Retry-After"]) > 0
        clock.now += 25 * 3600
        assert (await answer(api, issuer.token()))[0] == 503

    async def test_a_provider_that_is_away_is_not_asked_all_the_time(
        self, api: Api, issuer: Issuer
    ) -> None:
        clock = still_clock(api)
        issuer.is_down = True
        for _ in range(20):
            assert await answer(api, issuer.token()) == (503, "identity_provider_unavailable")
        assert len(issuer.paths) == 1
        issuer.is_down = False
        clock.now += 20
        assert (await answer(api, issuer.token()))[0] == 200

    @pytest.mark.parametrize(
        "discovered",
        [
            {"issuer": "https://elsewhere.example"}, {"jwks_uri": "http://192.0.2.1/keys"},
            {"jwks_uri": "file:///etc/passwd"}, {"jwks_uri": 7}, {"jwks_uri": None},
        ],
        ids=str,
    )  # fmt: skip
    async def test_a_discovery_document_that_leads_astray_is_not_followed(
        self, api: Api, issuer: Issuer, discovered: dict[str, object]
    ) -> None:
        issuer.discovered = discovered
        assert await answer(api, issuer.token()) == (503, "identity_provider_unavailable")

    async def test_health_is_told_while_the_provider_is_away(
        self, api: Api, issuer: Issuer
    ) -> None:
        issuer.is_down = True
        response = await api.client.get("/health/ready", headers=bearer(issuer.token()))
        assert response.json()["workers"] is None
