import datetime as dt
from uuid import UUID, uuid4

import pytest

from services.core.audit import ResourceKind
from services.core.deletion import begin_deletion
from services.core.repositories.erasure import Erased
from services.core.unit_of_work import UnitOfWork
from tests.fakes import Clock

WAIT = dt.timedelta(seconds=30)


@pytest.fixture
def deletion_id(uow: UnitOfWork) -> UUID:
    with uow:
        deletion = begin_deletion(uow, ResourceKind.SERIES, uuid4(), Erased())
        uow.commit()
    return deletion.id


class TestUnfinished:
    @pytest.mark.parametrize(
        ("seconds", "is_due"), [(0, False), (30, False), (31, True), (-30, False), (-31, True)]
    )
    def test_whoever_asked_has_a_while_whichever_way_the_clock_goes(
        self, uow: UnitOfWork, clock: Clock, deletion_id: UUID, seconds: int, is_due: bool
    ) -> None:
        clock.advance(seconds=seconds)

        with uow:
            found = uow.deletions.unfinished(clock() - WAIT, 9)

        assert found == ([deletion_id] if is_due else [])
