import dataclasses
import itertools

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from ml.evaluation.report.figures import (
    COLORS,
    STYLE,
    mean_bars,
    part_bars,
    save_figure,
    structure_bars,
    structure_boxes,
)
from ml.evaluation.report.plan import ComparisonKind
from tests.factories.scores import ABSENT, MISSED, make_score
from tests.factories.studies import TABLE_1, grid_rows, paper_comparison, paper_rows


def heights(axes) -> list[float]:
    return [patch.get_height() for patch in axes.patches]


class TestStructureBars:
    def test_bars_are_the_cells_of_table_1_and_their_means(self):
        overlap, distance = structure_bars(paper_rows(), paper_comparison()).axes

        cells = [TABLE_1[run][s] for run in TABLE_1 for s in TABLE_1["U-Net"]]
        by_run = np.reshape(heights(overlap), (4, 5))
        assert by_run[:, :4].ravel() == pytest.approx([dice for dice, _ in cells])
        assert by_run[:, 4] == pytest.approx([0.79575, 0.81, 0.80325, 0.82225])
        assert np.reshape(heights(distance), (4, 5))[3, 4] == pytest.approx(4.69825)

    def test_axes_carry_names_and_units(self):
        overlap, distance = structure_bars(paper_rows(), paper_comparison()).axes

        assert overlap.get_ylabel() == "DSC"
        assert distance.get_ylabel() == "95HD (mm)"
        assert [text.get_text() for text in overlap.get_xticklabels()] == [
            "Bladder",
            "Rectum",
            "CTV-N",
            "CTV-UV",
            "mDSC",
        ]


class TestMeanBars:
    def test_bars_are_the_overall_means_with_their_numbers(self):
        figure = mean_bars(paper_rows(), paper_comparison(ComparisonKind.LOSSES))

        assert heights(figure.axes[0])[3] == pytest.approx(0.82225)
        assert [text.get_text() for text in figure.axes[1].texts][3] == "4.698"

    def test_many_or_long_names_are_in_a_legend_instead(self):
        for runs in (2, 12):
            rows, comparison = grid_rows(runs)

            figure = mean_bars(rows, comparison)

            names = [text.get_text() for text in figure.legends[0].get_texts()]
            assert names == [run.title for run in comparison.runs]
            assert {text.get_text() for text in figure.axes[0].get_xticklabels()} == {""}

    def test_the_numbers_of_twelve_runs_do_not_overlap(self):
        figure = mean_bars(*grid_rows())
        figure.draw_without_rendering()

        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert len(boxes) == 12
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


class TestLegend:
    @pytest.mark.parametrize("draw", [mean_bars, structure_bars, structure_boxes, part_bars])
    def test_twelve_long_names_fit_the_figure(self, draw):
        figure = draw(*grid_rows())
        figure.draw_without_rendering()

        legend = figure.legends[0].get_window_extent()
        assert legend.x0 >= figure.bbox.x0
        assert legend.x1 <= figure.bbox.x1
        assert len(figure.legends[0].get_texts()) == 12

    def test_dollar_signs_and_underscores_are_printed(self, tmp_path):
        comparison = paper_comparison()
        odd = tuple(dataclasses.replace(run, title=f"_${run.title}$") for run in comparison.runs)
        comparison = dataclasses.replace(comparison, runs=odd)

        with mpl.rc_context(STYLE):
            figure = structure_bars(paper_rows(), comparison)
            figure.draw_without_rendering()

        texts = figure.legends[0].get_texts()
        assert [text.get_text() for text in texts] == [run.title for run in odd]
        assert not any(text.get_parse_math() for text in texts)


class TestPartBars:
    def test_presence_errors_are_summed_over_structures(self):
        parts = ("test", "obese")
        rows = [
            make_score(0, run=run, part=part, structure=structure, false_positive_slices=errors)
            for run in TABLE_1
            for part, errors in zip(parts, (2, 3), strict=True)
            for structure in ("Bladder", "Rectum")
        ]

        figure = part_bars(rows, paper_comparison(ComparisonKind.ABLATION, parts))

        assert heights(figure.axes[2])[:2] == [4, 6]


class TestStructureBoxes:
    def test_infinite_distances_are_counted_above_the_box(self):
        rows = [*paper_rows(), make_score(9, run="U-Net", **MISSED)]

        distances = structure_boxes(rows, paper_comparison()).axes[1]

        assert [text.get_text() for text in distances.texts] == ["1 inf"]

    def test_the_infinite_distances_of_many_runs_do_not_overlap(self):
        rows, comparison = grid_rows()
        rows += [make_score(9, run=run.label, **MISSED) for run in comparison.runs]

        figure = structure_boxes(rows, comparison)
        figure.draw_without_rendering()

        boxes = [text.get_window_extent() for text in figure.axes[1].texts]
        assert len(boxes) == 12
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))

    def test_a_structure_without_a_value_has_no_box(self):
        rows = [make_score(0, run=run, **ABSENT) for run in TABLE_1]

        overlap = structure_boxes(rows, paper_comparison()).axes[0]

        assert not overlap.patches


class TestSaveFigure:
    def test_equal_rows_give_equal_files(self, tmp_path):
        for folder in (tmp_path / "one", tmp_path / "two"):
            folder.mkdir()
            save_figure(lambda: structure_boxes(paper_rows(), paper_comparison()), folder, "f")

        for name in ("f.svg", "f.png"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_the_picture_has_every_runs_colour(self, tmp_path):
        _, png = save_figure(
            lambda: structure_bars(paper_rows(), paper_comparison()), tmp_path, "f"
        )

        pixels = np.asarray(Image.open(png).convert("RGB")).reshape(-1, 3)
        present = {f"#{r:02X}{g:02X}{b:02X}" for r, g, b in np.unique(pixels, axis=0)}
        assert set(COLORS[:4]) <= present
        assert COLORS[4] not in present
