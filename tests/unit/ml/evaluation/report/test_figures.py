import numpy as np
import pytest
from PIL import Image

from ml.evaluation.report.figures import (
    COLORS,
    mean_bars,
    part_bars,
    save_figure,
    structure_bars,
    structure_boxes,
)
from ml.evaluation.report.plan import ComparisonKind
from tests.factories.scores import ABSENT, MISSED, make_score
from tests.factories.studies import TABLE_1, paper_comparison, paper_rows


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
