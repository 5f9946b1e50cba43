"""Rows of small studies whose tables are known."""

from ml.evaluation.report.curves import CurvePoint, LearningCurve
from ml.evaluation.report.plan import Comparison, ComparisonKind, ReportedRun
from ml.evaluation.rows import CaseScore
from tests.factories.scores import make_score

TABLE_1 = {
    "U-Net": {
        "Bladder": (0.877, 2.277),
        "Rectum": (0.704, 2.757),
        "CTV-N": (0.800, 10.910),
        "CTV-UV": (0.802, 4.965),
    },
    "Attention U-Net": {
        "Bladder": (0.894, 2.167),
        "Rectum": (0.716, 2.336),
        "CTV-N": (0.818, 10.310),
        "CTV-UV": (0.812, 4.950),
    },
    "U-Net++": {
        "Bladder": (0.887, 2.527),
        "Rectum": (0.689, 2.433),
        "CTV-N": (0.817, 10.740),
        "CTV-UV": (0.820, 5.308),
    },
    "ResAU-Net": {
        "Bladder": (0.907, 2.253),
        "Rectum": (0.727, 1.985),
        "CTV-N": (0.827, 9.588),
        "CTV-UV": (0.828, 4.967),
    },
}
"""Every DSC and 95HD of the paper's Table 1."""


def paper_rows(patients: int = 8, part: str = "test") -> list[CaseScore]:
    """Make rows whose means are the cells of Table 1; patients differ by a hundredth."""
    rows = []
    for run, cells in TABLE_1.items():
        for structure, (dice, distance) in cells.items():
            for patient in range(patients):
                shift = 0.01 * (2 * patient / (patients - 1) - 1)
                values = {"dice": dice + shift, "hd95_mm": distance - shift}
                names = {"run": run, "part": part, "structure": structure}
                rows.append(make_score(patient, **names, **values))
    return rows


def paper_comparison(
    kind: ComparisonKind = ComparisonKind.NETWORKS, parts: tuple[str, ...] = ("test",)
) -> Comparison:
    """Plan the comparison of Table 1's networks."""
    return Comparison(
        name=kind.value,
        title="Networks",
        kind=kind,
        runs=tuple(ReportedRun(label=name, title=name) for name in TABLE_1),
        reference="ResAU-Net",
        parts=parts,
    )


def make_curve(run: str, seed: int = 0, epochs: int = 3, **values) -> LearningCurve:
    """Make the curve of a run whose losses fall by epoch as 1, 1/2, 1/3, with some values set."""
    points = [
        {
            "epoch": epoch,
            "training_loss": 1 / epoch,
            "validation_loss": 1 / epoch + 0.1 * seed,
            "validation_dice": {"Bladder": 0.1 * epoch, "Rectum": 0.3 * epoch},
        }
        for epoch in range(1, epochs + 1)
    ]
    return LearningCurve(
        run=run, seed=seed, points=tuple(CurvePoint(**(point | values)) for point in points)
    )


def grid_rows(runs: int = 12) -> tuple[list[CaseScore], Comparison]:
    """Make the rows of a grid search with names as long as its own, and their comparison."""
    labels = [f"learning_rate=0.0001-batch_size={i:02}" for i in range(runs)]
    rows = [
        make_score(patient, run=label, structure=name, dice=0.7 + 0.01 * patient)
        for label in labels
        for patient in range(3)
        for name in ("Bladder", "Rectum")
    ]
    comparison = Comparison(
        name="grid",
        title="Grid",
        kind=ComparisonKind.LOSSES,
        runs=tuple(ReportedRun(label=label, title=label) for label in labels),
        reference=labels[0],
    )
    return rows, comparison
