import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.config import PAPER_WINDOW, WIDE_WINDOW, PreprocessingConfig
from ml.preprocessing.channels import context_taps, window_channels


def heights_seen(count: int, spacing_mm: float, context_mm: tuple[float, ...]) -> np.ndarray:
    """Heights the taps read, found by interpolating the heights themselves."""
    taps = context_taps(count, spacing_mm, context_mm)
    z = np.arange(count) * spacing_mm
    return z[taps.lower] * (1 - taps.share) + z[taps.upper] * taps.share


class TestContextTaps:
    def test_the_slice_itself_is_read_alone(self):
        taps = context_taps(4, 3.0, (0.0,))

        assert taps.lower[:, 0].tolist() == [0, 1, 2, 3]
        assert not taps.share.any()

    def test_context_is_given_in_mm_whatever_the_spacing(self):
        assert heights_seen(9, 2.5, (-5.0, 0.0, 5.0))[4].tolist() == [5.0, 10.0, 15.0]
        assert heights_seen(9, 4.0, (-5.0, 0.0, 5.0))[4] == pytest.approx([11.0, 16.0, 21.0])

    def test_the_outermost_slices_repeat(self):
        seen = heights_seen(3, 5.0, (-5.0, 0.0, 5.0))

        assert seen.tolist() == [[0, 0, 5], [0, 5, 10], [5, 10, 10]]

    def test_a_single_slice_is_its_own_context(self):
        taps = context_taps(1, 0.0, (-5.0, 0.0, 5.0))

        assert taps.lower.tolist() == taps.upper.tolist() == [[0, 0, 0]]

    @given(
        count=st.integers(1, 60),
        spacing=st.floats(0.5, 10),
        offset=st.floats(-20, 20),
    )
    def test_heights_are_met_within_the_volume(self, count, spacing, offset):
        wanted = np.clip(np.arange(count) * spacing + offset, 0, (count - 1) * spacing)

        assert heights_seen(count, spacing, (offset, 0.0))[:, 0] == pytest.approx(wanted, abs=1e-4)


class TestWindowChannels:
    def test_every_slice_of_context_shows_all_windows_in_turn(self):
        config = PreprocessingConfig(
            windows=(PAPER_WINDOW, WIDE_WINDOW), context_mm=(-5.0, 0.0), crop_size_px=32
        )
        hu = np.zeros((1, 2, 32, 32), np.float32)
        hu[0, 0], hu[0, 1] = -1000.0, 200.0

        channels = window_channels(hu, config)

        assert channels.shape == (1, 4, 32, 32)
        assert channels[0, :, 0, 0] == pytest.approx([0.0, 0.0, 1.0, 0.6])
