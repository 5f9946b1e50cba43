"""Rows of small studies whose tables are known."""

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
