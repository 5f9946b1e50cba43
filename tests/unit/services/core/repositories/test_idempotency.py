from uuid import uuid4

import pytest
from sqlalchemy.exc import IntegrityError

from services.core.errors import IdempotencyKeyReusedError
from services.core.repositories.idempotency import IdempotencyRepository
from services.core.unit_of_work import UnitOfWork
from tests.fakes import Clock

REQUEST = {"route": "POST /v1/contour-jobs", "key": "k", "request_sha256": "a" * 64}


class TestIdempotency:
    def test_the_same_request_finds_its_resource(self, uow: UnitOfWork) -> None:
        resource_id = uuid4()
        with uow:
            assert uow.idempotency.find(**REQUEST) is None
            assert uow.idempotency.remember(**REQUEST, resource_id=resource_id) == resource_id
            uow.commit()
        with uow:
            assert uow.idempotency.find(**REQUEST) == resource_id

    def test_the_first_of_two_wins(self, uow: UnitOfWork) -> None:
        first = uuid4()
        with uow:
            uow.idempotency.remember(**REQUEST, resource_id=first)
            uow.commit()
        with uow:
            assert uow.idempotency.remember(**REQUEST, resource_id=uuid4()) == first

    def test_another_request_under_the_same_key_is_refused(self, uow: UnitOfWork) -> None:
        other = REQUEST | {"request_sha256": "b" * 64}
        with uow:
            uow.idempotency.remember(**REQUEST, resource_id=uuid4())
            with pytest.raises(IdempotencyKeyReusedError):
                uow.idempotency.find(**other)
            with pytest.raises(IdempotencyKeyReusedError):
                uow.idempotency.remember(**other, resource_id=uuid4())

    def test_the_same_key_on_another_route_is_another_key(self, uow: UnitOfWork) -> None:
        with uow:
            uow.idempotency.remember(**REQUEST, resource_id=uuid4())
            assert uow.idempotency.find(**(REQUEST | {"route": "POST /v1/series"})) is None

    def test_old_keys_are_forgotten(self, uow: UnitOfWork, clock: Clock) -> None:
        with uow:
            uow.idempotency.remember(**REQUEST, resource_id=uuid4())
            clock.advance(days=1)
            uow.idempotency.forget(clock())
            assert uow.idempotency.find(**REQUEST) is None

    def test_a_key_forgotten_in_between_is_an_error(
        self, uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with uow:
            uow.idempotency.remember(**REQUEST, resource_id=uuid4())
            monkeypatch.setattr(IdempotencyRepository, "find", lambda *_, **__: None)
            with pytest.raises(IntegrityError):
                uow.idempotency.remember(**REQUEST, resource_id=uuid4())
