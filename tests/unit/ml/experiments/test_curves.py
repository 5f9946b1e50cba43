import dataclasses
import json

from ml.experiments.curves import read_curve, read_curves
from ml.experiments.execution import EPOCHS_FILE
from tests.factories.training import make_report


def write_epochs(folder, *epochs: int) -> None:
    folder.mkdir(parents=True)
    lines = (json.dumps(dataclasses.asdict(make_report(epoch=epoch))) for epoch in epochs)
    (folder / EPOCHS_FILE).write_text("\n".join(lines) + "\n")


class TestReadCurve:
    def test_points_are_what_was_reported(self, tmp_path):
        write_epochs(tmp_path / "run", 1, 2)

        curve = read_curve(tmp_path / "run", "loss-ce", 3)

        assert curve is not None
        assert (curve.run, curve.seed) == ("loss-ce", 3)
        assert [point.epoch for point in curve.points] == [1, 2]
        point, report = curve.points[0], make_report()
        assert (point.training_loss, point.validation_loss) == (
            report.training_loss,
            report.validation_loss,
        )
        assert point.validation_dice == report.validation_dice

    def test_a_run_that_reported_nothing_has_none(self, tmp_path):
        assert read_curve(tmp_path, "loss-ce", 3) is None


class TestReadCurves:
    def test_runs_are_found_by_their_folders_names(self, tmp_path):
        for name in ("loss-s-s2", "loss-ce-s0", "notes-sorted"):
            write_epochs(tmp_path / name, 1)
        (tmp_path / "loss-ce-s1").mkdir()

        found = [(curve.run, curve.seed) for curve in read_curves(tmp_path)]

        assert found == [("loss-ce", 0), ("loss-s", 2)]
