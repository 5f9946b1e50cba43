"""Whatever senders write, answers repeat it printable and short, or not at all."""

import json
import math
from urllib.parse import quote

import pytest

from services.api.uploads.names import (
    MAX_LISTED_TEXT_LENGTH,
    MAX_SHOWN_TEXT_LENGTH,
    shown_json,
    shown_text,
)
from tests.factories.api import Api
from tests.factories.uploads import FORM, make_form, make_series, make_zip

pytestmark = pytest.mark.anyio
HAZARDS = {
    "zero": "a\0b",
    "escape": "\x1b[31mred",
    "line": "a\r\nSet-Cookie: b",
    "c1": "a\x85b",
    "bidi": "\N{RIGHT-TO-LEFT OVERRIDE}gpj",
    "isolate": "\N{LEFT-TO-RIGHT ISOLATE}a",
    "invisible": "a\N{ZERO WIDTH SPACE}b",
    "separator": "a\N{LINE SEPARATOR}b",
    "surrogate": "a\ud800b",
    "formula": "=1+1",
    "markup": "<script>alert(1)</script>",
    "long": "x" * 65_535,
}


@pytest.fixture(params=HAZARDS.values(), ids=list(HAZARDS))
def hazard(request: pytest.FixtureRequest) -> str:
    return request.param


def assert_is_tame(text: str) -> None:
    """An answer's json holds nothing unprintable and no text of more than a paragraph."""
    assert text.isprintable()

    def check(value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                check(key)
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)
        elif isinstance(value, str):
            assert value.isprintable()
            assert len(value) <= MAX_SHOWN_TEXT_LENGTH

    check(json.loads(text))


class TestShownJson:
    def test_texts_at_every_level_are_printable_and_short(self, hazard: str) -> None:
        shown = shown_json({hazard: [hazard, {"a": hazard}], "b": hazard})
        assert_is_tame(json.dumps(shown, ensure_ascii=False, allow_nan=False))

    def test_ordinary_values_stay_as_they_are(self) -> None:
        value = {"a": [1, 2.5, None, True, "Müller"], "b": {"c": "é"}}
        assert shown_json(value) == value

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_numbers_that_are_none_become_text(self, number: float) -> None:
        assert shown_json({"a": (number,)}) == {"a": [str(number)]}

    def test_lists_hold_shorter_texts(self) -> None:
        (listed,) = shown_json(["x" * 2000])  # pyright: ignore[reportGeneralTypeIssues]
        assert len(listed) == MAX_LISTED_TEXT_LENGTH
        assert listed.endswith("…")
        assert shown_text("x" * 2000).endswith("…")


class TestAnswers:
    async def test_names_of_members(self, api: Api, hazard: str) -> None:
        name = hazard.replace("\0", "0").replace("\ud800", "?")[:60_000]
        zipped = make_zip({f"{name}.dcm": b"no DICOM"})
        response = await api.client.post(
            "/v1/series", content=zipped, headers={"Content-Type": "application/zip"}
        )
        assert response.status_code == 422
        assert_is_tame(response.text)

    async def test_names_of_skipped_files(self, api: Api, hazard: str) -> None:
        name = hazard.replace("\0", "0").replace("\ud800", "?")[:1000]
        zipped = make_zip(make_series() | {f"{name}.txt": b"text"})
        response = await api.client.post(
            "/v1/series", content=zipped, headers={"Content-Type": "application/zip"}
        )
        assert response.status_code == 201
        assert_is_tame(response.text)

    async def test_fields_of_forms(self, api: Api, hazard: str) -> None:
        field = hazard.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"")[:3000]
        body = make_form({"a": b"b"}).replace(
            b'name="file"; filename="a"', b'name="' + field + b'"'
        )
        response = await api.client.post("/v1/series", content=body, headers={"Content-Type": FORM})
        assert 400 <= response.status_code < 500
        assert_is_tame(response.text)

    @pytest.mark.parametrize("where", ["value", "key", "mapping", "structure"])
    async def test_json(self, api: Api, hazard: str, where: str) -> None:
        body = {
            "value": {"name": hazard},
            "key": {"name": "a", hazard: 1},
            "mapping": {"name": "a", "mapping": {"ignore": [hazard, "/(/"]}},
            "structure": {"name": "a", "mapping": {"structures": {hazard: ["a"]}}},
        }[where]
        response = await api.client.post(
            "/v1/datasets",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert response.status_code < 500
        assert_is_tame(response.text)

    async def test_paths_queries_and_keys(self, api: Api, hazard: str) -> None:
        text = hazard.replace("\ud800", "?")[:5000]
        for response in (
            await api.client.get(f"/{quote(text)}"),
            await api.client.get("/v1/series", params={"cursor": text}),
            await api.client.get("/v1/reports/acceptability", params={"reviewer": text}),
        ):
            assert response.status_code < 500
            assert_is_tame(response.text)
