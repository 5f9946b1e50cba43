"""Rows of an evaluation with known values."""

import dataclasses

import numpy as np

from ml.data.dataset import LabelledCase
from ml.evaluation.rows import CaseScore
from ml.geometry import Volume, VolumeGeometry
from tests.factories.volumes import make_geometry

PERFECT = CaseScore(
    run="a",
    seed=0,
    part="test",
    case="case-0",
    patient="patient-0",
    structure="Bladder",
    dice=1.0,
    background_dice=1.0,
    prediction_ml=200.0,
    reference_ml=200.0,
    hd95_mm=0.0,
    hd95_pooled_mm=0.0,
    hd100_mm=0.0,
    hd_equation7_mm=0.0,
    assd_mm=0.0,
    surface_dice_1mm=1.0,
    surface_dice_2mm=1.0,
    surface_dice_3mm=1.0,
    slice_dice=1.0,
    slice_dice_both_empty_1=1.0,
    slice_hd95_mm=0.0,
    slices_with_both=10,
    true_positive_slices=10,
    false_positive_slices=0,
    false_negative_slices=0,
    true_negative_slices=30,
    superior_end_error_slices=0.0,
    inferior_end_error_slices=0.0,
    slice_spacing_mm=5.0,
    extent_diagonal_mm=700.0,
)

MISSED = {
    "dice": 0.0,
    "hd95_mm": float("inf"),
    "true_positive_slices": 0,
    "false_negative_slices": 10,
}
ABSENT = {
    "dice": float("nan"),
    "hd95_mm": float("nan"),
    "true_positive_slices": 0,
    "true_negative_slices": 40,
}


def make_score(patient: int = 0, **values) -> CaseScore:
    """Make the perfect row of a patient, with some values changed."""
    names = {"case": f"case-{patient}", "patient": f"patient-{patient}"}
    return dataclasses.replace(PERFECT, **(names | values))


def make_labelled_case(labels: np.ndarray, geometry: VolumeGeometry | None = None) -> LabelledCase:
    """Make a case of these labels whose CT is air."""
    geometry = geometry or make_geometry(labels.shape, (5.0, 1.0, 1.0))
    volume = Volume(hu=np.full(geometry.shape, -1000, np.int16), geometry=geometry)
    return LabelledCase(case_id="case-1", patient_id="patient-1", volume=volume, labels=labels)
