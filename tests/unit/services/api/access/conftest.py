"""An identity provider of its own for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.api.access import identity_keys
from services.core.settings import Settings
from tests.factories.issuer import AUDIENCE, ROLE_MAP, Issuer, running_issuer


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    # It runs in this process: while that stands still, nobody answers.
    monkeypatch.setattr(identity_keys, "TIMEOUT_SECONDS", 120)
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def trusting_settings(tmp_path: Path, issuer: Issuer) -> Settings:
    """Of a service that trusts the provider."""
    return Settings(
        data_dir=tmp_path / "data",
        oidc_issuer=issuer.url,
        oidc_audience=AUDIENCE,
        oidc_role_map=ROLE_MAP,
    )
