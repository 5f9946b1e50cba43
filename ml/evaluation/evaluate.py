"""A checkpoint against cases with known truth, in 3-D on the CT's own full grid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ml.arrays import LabelVolume
from ml.checkpoint import Checkpoint
from ml.inference.predictor import Predictor
from ml.metrics.overlap import dice, volume_error_ml
from ml.metrics.surface import hausdorff95_mm
from ml.phantom.cohort import PhantomSpec, generate_phantom
from ml.structures import StructureSet, structure_set


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseScore:
    """How well one structure of one patient was found."""

    case: str
    structure: str
    dice: float
    hd95_mm: float
    volume_error_ml: float
    reference_is_empty: bool
    prediction_is_empty: bool

    @property
    def is_missed(self) -> bool:
        """Tell whether the structure exists and was not found."""
        return self.prediction_is_empty and not self.reference_is_empty

    @property
    def is_hallucinated(self) -> bool:
        """Tell whether the structure was found and does not exist."""
        return self.reference_is_empty and not self.prediction_is_empty

    @property
    def is_absent(self) -> bool:
        """Tell whether the structure neither exists nor was found."""
        return self.reference_is_empty and self.prediction_is_empty


def score_case(
    case: str,
    prediction: LabelVolume,
    reference: LabelVolume,
    spacing_mm: tuple[float, float, float],
    structures: StructureSet,
) -> Iterator[CaseScore]:
    """Yield the score of every structure."""
    voxel_ml = spacing_mm[0] * spacing_mm[1] * spacing_mm[2] / 1000
    for structure in structures.structures:
        found, truth = prediction == structure.number, reference == structure.number
        yield CaseScore(
            case=case,
            structure=structure.name,
            dice=dice(found, truth),
            hd95_mm=hausdorff95_mm(found, truth, spacing_mm),
            volume_error_ml=volume_error_ml(found, truth, voxel_ml),
            reference_is_empty=not truth.any(),
            prediction_is_empty=not found.any(),
        )


def evaluate_phantoms(
    checkpoint: Checkpoint, specs: Sequence[PhantomSpec], thread_count: int
) -> list[CaseScore]:
    """Contour phantoms as a job would, and score every structure of every one."""
    predictor = Predictor(checkpoint, thread_count=thread_count)
    structures = structure_set(checkpoint.run_config.structure_set)
    scores: list[CaseScore] = []
    for spec in specs:
        phantom = generate_phantom(spec)
        prediction = predictor.predict(phantom.volume)
        spacing = phantom.volume.geometry.spacing_mm
        scores += score_case(
            f"phantom-{spec.seed:06d}", prediction.labels, phantom.labels, spacing, structures
        )
    return scores
