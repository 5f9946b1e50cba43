import numpy as np
import pytest

from ml.config import PAPER_WINDOW, WIDE_WINDOW, PreprocessingConfig
from ml.preprocessing.intensity import clip_to_guard, guard_range_hu, window_to_unit

CONFIG = PreprocessingConfig()


class TestWindow:
    @pytest.mark.parametrize(
        ("hu", "expected"), [(-1000, 0), (-100, 0), (50, 0.5), (200, 1), (1000, 1), (-3024, 0)]
    )
    def test_the_papers_window_maps_to_zero_to_one(self, hu, expected):
        image = window_to_unit(np.full((1, 1, 1), hu, np.float32), PAPER_WINDOW)

        assert image.item() == pytest.approx(expected)


class TestGuard:
    def test_the_guard_is_twice_the_window(self):
        assert guard_range_hu(CONFIG) == (-250.0, 350.0)

    def test_the_guard_holds_all_windows_and_stops_at_air(self):
        config = PreprocessingConfig(windows=(PAPER_WINDOW, WIDE_WINDOW))

        assert guard_range_hu(config) == (-1024.0, 2000.0)

    def test_padding_and_metal_stop_at_the_guard(self):
        hu = np.array([[[-3024, 40, 3071]]], np.int16)

        assert clip_to_guard(hu, CONFIG).tolist() == [[[-250, 40, 350]]]
