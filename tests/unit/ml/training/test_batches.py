import dataclasses

import numpy as np
import pytest
import torch

from ml.config import PAPER_WINDOW, WIDE_WINDOW
from ml.data.slices import SliceReader, SliceSampler
from ml.training.batches import BatchLoader, plan_epoch
from tests.factories.cases import make_case, tiny_run

CPU = torch.device("cpu")


@pytest.fixture
def config():
    run = tiny_run()
    preprocessing = dataclasses.replace(
        run.preprocessing, context_mm=(-5.0, 0.0, 5.0), windows=(PAPER_WINDOW, WIDE_WINDOW)
    )
    return dataclasses.replace(run, preprocessing=preprocessing)


def make_plan(config, seed: int = 0):
    sampler = SliceSampler(
        [make_case(0), make_case(1)],
        empty_slice_weight=1.0,
        generator=np.random.default_rng(seed),
    )
    return plan_epoch(config, sampler, torch.Generator().manual_seed(seed))


def load(config, ahead: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    reader = SliceReader([make_case(0), make_case(1)], config.preprocessing)
    return list(BatchLoader(reader, config, CPU, ahead=ahead).batches(make_plan(config)))


class TestPlanEpoch:
    def test_every_batch_has_a_seed_of_its_own(self, config):
        plan = make_plan(config)

        assert len(plan) == len(plan.slices) == len(set(plan.seeds)) == 4

    def test_generators_decide_the_plan(self, config):
        assert make_plan(config) == make_plan(config)
        assert make_plan(config).seeds != make_plan(config, seed=1).seeds


class TestBatchLoader:
    def test_batches_made_ahead_are_the_same_bit_by_bit(self, config):
        for first, second in zip(load(config, 0), load(config, 3), strict=True):
            assert torch.equal(first[0], second[0])
            assert torch.equal(first[1], second[1])

    def test_channels_are_windows_of_context_slices(self, config):
        images, labels = load(config, 0)[0]

        assert images.shape == (2, 6, 64, 64)
        assert labels.shape == (2, 64, 64)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= images.min() <= images.max() <= 1

    def test_waiting_is_counted(self, config):
        reader = SliceReader([make_case(0), make_case(1)], config.preprocessing)
        loader = BatchLoader(reader, config, CPU, ahead=0)

        for _ in loader.batches(make_plan(config)):
            pass

        assert loader.seconds_waited > 0
