import dataclasses
import json

import pytest
import torch

from ml.config import RunConfig
from ml.training.data import TrainingData
from ml.training.run_card import code_sha256, run_card, write_run_card
from ml.training.state import start_state
from tests.factories.cases import make_case, tiny_run
from tests.factories.training import make_training_data

CPU = torch.device("cpu")


@pytest.fixture
def data() -> TrainingData:
    return dataclasses.replace(make_training_data(), facts={"dataset": "tiny"})


def card_of(data: TrainingData, config: RunConfig | None = None):
    config = config or tiny_run(micro_batch_size=1, seed=5)
    return run_card(config, data, start_state(config, CPU))


class TestRunCard:
    def test_it_says_what_repeating_needs(self, data, tmp_path):
        card = json.loads(write_run_card(card_of(data), tmp_path).read_text())

        assert RunConfig.from_dict(card["config"]) == tiny_run(micro_batch_size=1, seed=5)
        assert (card["seed"], card["batch_size"], card["micro_batch_size"]) == (5, 2, 1)
        assert (card["epochs"], card["steps"]) == (0, 0)
        assert card["library_versions"]["torch"] == torch.__version__.split("+")[0] or (
            card["library_versions"]["torch"] == torch.__version__
        )
        assert card["data"]["dataset"] == "tiny"
        assert card["data"]["patients"]["validation"] == ["patient-2"]
        assert [case for case, _ in card["data"]["cases"]["training"]] == ["case-0", "case-1"]

    def test_the_hash_of_the_data_tells_cases_and_parts_apart(self, data):
        reordered = dataclasses.replace(data, training=data.training[::-1])
        swapped = dataclasses.replace(data, training=data.validation, validation=data.training)
        changed = dataclasses.replace(data, validation=[make_case(9)])

        assert data.sha256() == reordered.sha256()
        assert len({data.sha256(), swapped.sha256(), changed.sha256()}) == 3

    @pytest.mark.parametrize("part", ["training", "validation"])
    def test_a_part_without_cases_is_refused(self, data, part):
        with pytest.raises(ValueError, match="at least one case"):
            dataclasses.replace(data, **{part: []})

    def test_the_hash_of_the_configuration_tells_seeds_apart(self, data):
        first, second = (card_of(data, tiny_run(seed=s))["config_sha256"] for s in (1, 2))

        assert first != second

    def test_the_code_hash_repeats(self):
        assert code_sha256() == code_sha256()
        assert len(code_sha256()) == 64
