"""Some hundred mutated uploads, the same ones every time; `make fuzz` sends thousands."""

import pytest

from tests.fuzz.campaign import Campaign
from tests.fuzz.inputs import Samples, make_input

SEED, COUNT = 5, 300


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore")  # pydicom voices its doubts while inputs are made
async def test_mutated_uploads_break_no_promise() -> None:
    tally = await Campaign(SEED).run(0, COUNT)
    assert not tally.findings
    accepted = sum(count for (_, outcome), count in tally.answers.items() if outcome.isdecimal())
    assert COUNT / 5 < accepted < COUNT * 4 / 5, "neither all refused nor all harmless"
    assert len({outcome for _, outcome in tally.answers}) > 15


@pytest.mark.filterwarnings("ignore")
def test_an_input_is_made_again_from_seed_and_number() -> None:
    first, again = Samples(), Samples()
    for number in range(20):
        assert make_input(first, 7, number).target == make_input(again, 7, number).target
    made = [make_input(first, 7, number) for number in range(20)]
    assert [m.sha256 for m in made] == [make_input(first, 7, n).sha256 for n in range(20)]
    assert len({m.sha256 for m in made}) == 20
