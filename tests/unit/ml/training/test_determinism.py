import pytest
import torch

from ml.training.determinism import deterministic_algorithms


class TestDeterministicAlgorithms:
    def test_on_a_cpu_they_are_asked_for_while_the_block_lasts(self):
        with deterministic_algorithms(torch.device("cpu")):
            inside = torch.are_deterministic_algorithms_enabled()

        assert inside
        assert not torch.are_deterministic_algorithms_enabled()

    def test_on_other_devices_nothing_changes(self):
        with deterministic_algorithms(torch.device("cuda")):
            assert not torch.are_deterministic_algorithms_enabled()

    def test_an_error_ends_them_too(self):
        with pytest.raises(KeyError), deterministic_algorithms(torch.device("cpu")):
            raise KeyError

        assert not torch.are_deterministic_algorithms_enabled()
