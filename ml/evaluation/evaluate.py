"""Predictions against cases with known truth, on the CT's own full grid."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ml.arrays import LabelVolume, MaskVolume
from ml.checkpoint import Checkpoint
from ml.data.dataset import Dataset, LabelledCase
from ml.evaluation.rows import CaseScore, RunLabel
from ml.geometry import Volume, VolumeGeometry, align_to_lps
from ml.inference.predictor import Predictor
from ml.metrics.overlap import dice
from ml.metrics.presence import measure_presence
from ml.metrics.slicewise import measure_slices
from ml.metrics.surface import box_of, measure_surfaces
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.structures import StructureSet, structure_set

Predict = Callable[[Volume], LabelVolume]
"""Contours a volume; labels come back on its own grid."""


def predict_labels(predictor: Predictor) -> Predict:
    """Return the labels-only view of a predictor."""
    return lambda volume: predictor.predict(volume).labels


def evaluate_dataset(
    predict: Predict, dataset: Dataset, case_ids: Sequence[str], label: RunLabel
) -> Iterator[CaseScore]:
    """Contour cases of a dataset and yield the score of every structure, case after case.

    Raises:
        DatasetError: the dataset has no such case.
        NotAxialError: a case does not lie along the patient's axes.
    """
    return evaluate_cases(predict, dataset.read_cases(case_ids), dataset.structures, label)


def evaluate_cases(
    predict: Predict, cases: Iterable[LabelledCase], structures: StructureSet, label: RunLabel
) -> Iterator[CaseScore]:
    """Contour cases and yield the score of every structure, case after case.

    Raises:
        NotAxialError: a case does not lie along the patient's axes.
    """
    for case in cases:
        yield from score_case(case, predict(case.volume), structures, label)


def score_case(
    case: LabelledCase, prediction: LabelVolume, structures: StructureSet, label: RunLabel
) -> Iterator[CaseScore]:
    """Yield the score of every structure.

    Raises:
        NotAxialError: the case does not lie along the patient's axes.
        ValueError: the prediction is not on the case's grid.
    """
    if prediction.shape != case.labels.shape:
        raise ValueError(f"labels {prediction.shape} for a case of {case.labels.shape}")
    alignment = align_to_lps(case.volume.geometry)
    geometry = alignment.geometry_to_lps(case.volume.geometry)
    found = alignment.to_lps(prediction)
    truth = alignment.to_lps(np.asarray(case.labels))
    background = dice(found == 0, truth == 0)
    # beyond the columns and rows that hold a label nothing is to be measured; slices all count
    rows, columns = _occupied((found > 0) | (truth > 0))
    found, truth = found[:, rows, columns], truth[:, rows, columns]
    for structure in structures.structures:
        masks = found == structure.number, truth == structure.number
        yield CaseScore(
            run=label.run,
            seed=label.seed,
            part=label.part,
            case=case.case_id,
            patient=case.patient_id,
            structure=structure.name,
            background_dice=background,
            slice_spacing_mm=geometry.slice_spacing_mm,
            extent_diagonal_mm=float(np.linalg.norm(geometry.extent_mm)),
            **_overlap_columns(*masks, geometry),
            **_surface_columns(*masks, geometry),
            **_slice_columns(*masks, geometry),
        )


def evaluate_phantoms(
    checkpoint: Checkpoint, specs: Sequence[PhantomSpec], thread_count: int
) -> list[CaseScore]:
    """Contour phantoms as a job would, and score every structure of every one."""
    predict = predict_labels(Predictor(checkpoint, thread_count=thread_count))
    structures = structure_set(checkpoint.run_config.structure_set)
    label = RunLabel(run=checkpoint.card.model_version)
    return list(evaluate_cases(predict, map(_phantom_case, specs), structures, label))


def _phantom_case(spec: PhantomSpec) -> LabelledCase:
    phantom = generate_phantom(spec)
    name = f"phantom-{spec.seed:06d}"
    return LabelledCase(case_id=name, patient_id=name, volume=phantom.volume, labels=phantom.labels)


def _occupied(mask: MaskVolume) -> tuple[slice, slice]:
    """Return the rows and columns with a set voxel; empty slices if there is none."""
    if not mask.any():
        return slice(0, 0), slice(0, 0)
    _, rows, columns = box_of(mask)
    return rows, columns


def _overlap_columns(
    found: MaskVolume, truth: MaskVolume, geometry: VolumeGeometry
) -> dict[str, Any]:  # Any: columns of several types
    return {
        "dice": dice(found, truth),
        "prediction_ml": float(np.count_nonzero(found) * geometry.voxel_volume_ml),
        "reference_ml": float(np.count_nonzero(truth) * geometry.voxel_volume_ml),
    }


def _surface_columns(
    found: MaskVolume, truth: MaskVolume, geometry: VolumeGeometry
) -> dict[str, Any]:  # Any: as above
    surfaces = measure_surfaces(found, truth, geometry.spacing_mm)
    return {
        "hd95_mm": surfaces.hausdorff95_mm(),
        "hd95_pooled_mm": surfaces.hausdorff95_pooled_mm(),
        "hd100_mm": surfaces.hausdorff100_mm(),
        "hd_equation7_mm": surfaces.hausdorff_equation7_mm(),
        "assd_mm": surfaces.average_mm(),
        "surface_dice_1mm": surfaces.surface_dice(1.0),
        "surface_dice_2mm": surfaces.surface_dice(2.0),
        "surface_dice_3mm": surfaces.surface_dice(3.0),
    }


def _slice_columns(
    found: MaskVolume, truth: MaskVolume, geometry: VolumeGeometry
) -> dict[str, Any]:  # Any: as above
    presence = measure_presence(found, truth)
    slicewise = measure_slices(found, truth, geometry.pixel_spacing_mm)
    return {
        "true_positive_slices": presence.true_positive,
        "false_positive_slices": presence.false_positive,
        "false_negative_slices": presence.false_negative,
        "true_negative_slices": presence.true_negative,
        "superior_end_error_slices": presence.superior_end_error_slices,
        "inferior_end_error_slices": presence.inferior_end_error_slices,
        "slice_dice": slicewise.dice,
        "slice_dice_both_empty_1": slicewise.dice_both_empty_1,
        "slice_hd95_mm": slicewise.hd95_mm,
        "slices_with_both": slicewise.slices_with_both,
    }
