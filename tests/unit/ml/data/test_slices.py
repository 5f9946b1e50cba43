import numpy as np
import pytest

from ml.config import PreprocessingConfig
from ml.data.slices import SliceReader, SliceSampler, iterate_case
from tests.factories.cases import make_case


def make_sampler(empty_slice_weight: float = 1.0, seed: int = 0) -> SliceSampler:
    return SliceSampler(
        [make_case(0), make_case(1)],
        empty_slice_weight=empty_slice_weight,
        generator=np.random.default_rng(seed),
    )


class TestSampler:
    def test_a_whole_epoch_holds_every_slice_once(self):
        batches = make_sampler().draw_epoch(batch_size=2)

        drawn = sorted(pair for batch in batches for pair in batch)
        assert drawn == [(case, index) for case in range(2) for index in range(4)]

    def test_slices_without_structures_can_be_left_out(self):
        batches = make_sampler(empty_slice_weight=0.0).draw_epoch(batch_size=4, slices=200)

        indices = [index for batch in batches for _, index in batch]
        assert len(indices) == 200
        assert 0 not in indices

    def test_empty_slices_come_as_rarely_as_asked(self):
        batches = make_sampler(empty_slice_weight=0.25).draw_epoch(batch_size=10, slices=4000)

        share = np.mean([index == 0 for batch in batches for _, index in batch])
        assert share == pytest.approx(0.25 / 3.25, abs=0.02)

    @pytest.mark.parametrize("cases", [[], [make_case(slices=1)]])
    def test_without_a_slice_to_draw_nothing_begins(self, cases):
        with pytest.raises(ValueError, match="no slice"):
            SliceSampler(cases, empty_slice_weight=0.0, generator=np.random.default_rng(0))

    def test_a_seed_draws_the_same(self):
        assert make_sampler(seed=5).draw_epoch(2) == make_sampler(seed=5).draw_epoch(2)


class TestReading:
    def test_slices_come_as_cached(self):
        case = make_case()

        batch = SliceReader([case], PreprocessingConfig()).read([(0, 1), (0, 3)])

        np.testing.assert_array_equal(batch.hu.numpy(), case.hu[[1, 3]][:, None])
        np.testing.assert_array_equal(batch.labels.numpy(), case.labels[[1, 3]])

    def test_context_lies_where_it_should_and_ends_repeat(self):
        case = make_case()
        config = PreprocessingConfig(context_mm=(-5.0, 0.0, 5.0))

        batch = SliceReader([case], config).read([(0, 0), (0, 2)])

        np.testing.assert_array_equal(batch.hu[0].numpy(), case.hu[[0, 0, 1]])
        np.testing.assert_array_equal(batch.hu[1].numpy(), case.hu[[1, 2, 3]])
        np.testing.assert_array_equal(batch.labels.numpy(), case.labels[[0, 2]])

    def test_between_slices_values_are_interpolated(self):
        case = make_case()
        config = PreprocessingConfig(context_mm=(0.0, 2.0))

        batch = SliceReader([case], config).read([(0, 1)])

        expected = 0.6 * case.hu[1] + 0.4 * case.hu[2]
        np.testing.assert_allclose(batch.hu[0, 1].numpy(), expected, rtol=1e-5)

    def test_cases_keep_to_their_own_slices(self):
        cases = [make_case(0, slices=2), make_case(1)]
        config = PreprocessingConfig(context_mm=(0.0, 50.0))

        batch = SliceReader(cases, config).read([(1, 0), (0, 0)])

        np.testing.assert_array_equal(batch.hu[0].numpy(), cases[1].hu[[0, 3]])
        np.testing.assert_array_equal(batch.hu[1].numpy(), cases[0].hu[[0, 1]])

    def test_a_case_is_read_whole_and_in_order(self):
        case = make_case(slices=5)

        batches = list(iterate_case(case, PreprocessingConfig(), batch_size=2))

        assert [len(b.labels) for b in batches] == [2, 2, 1]
        together = np.concatenate([b.labels.numpy() for b in batches])
        np.testing.assert_array_equal(together, case.labels)
