"""Reports on contours as the API is asked for them and shows them."""

import math
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ml.grading import Grade, StructureGrades
from services.api.moments import Moment
from services.api.quality.service import (
    AcceptabilityGroup,
    AcceptabilityReport,
    Agreement,
    DriftGroup,
    ReaderPair,
)
from services.api.texts import ReaderName, ShortText
from services.core.repositories.acceptability import GroupKey, GroupTotals, ReviewFilter
from services.core.repositories.drift import DriftBy, JobTotals, StructureMeans

Percentage = Annotated[float, Field(ge=0, le=100)]
Kappa = Annotated[
    float | None,
    Field(description="Null where chance leaves nothing to disagree about."),
]


class GroupBy(StrEnum):
    """What reviews are grouped by."""

    NONE = "none"
    STRUCTURE = GroupKey.STRUCTURE.value
    MODEL_VERSION = GroupKey.MODEL_VERSION.value
    MONTH = GroupKey.MONTH.value
    REVIEWER = GroupKey.REVIEWER.value


class AcceptabilityQuery(BaseModel):
    """Which reviews are counted, and how they are grouped."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_version: ShortText | None = Field(
        default=None, description="Only contours of the weights of this name."
    )
    structure: ShortText | None = None
    reviewer: ReaderName | None = None
    created_from: Moment | None = Field(
        default=None, description="Only reviews made then or later."
    )
    created_to: Moment | None = Field(default=None, description="Only reviews made before.")
    group_by: list[GroupBy] = Field(
        default=[GroupBy.NONE],
        max_length=2,
        description="One or two; months are those of the reviews, in UTC.",
    )

    @field_validator("group_by")
    @classmethod
    def _are_different(cls, given: list[GroupBy]) -> list[GroupBy]:
        if len(set(given)) < len(given) or (len(given) > 1 and GroupBy.NONE in given):
            raise ValueError("name two different groups, or one, or none")
        return given

    def filter(self) -> ReviewFilter:
        """Return which reviews are counted."""
        return ReviewFilter(
            model_version=self.model_version,
            structure=self.structure,
            reviewer=self.reviewer,
            created_from=self.created_from,
            created_to=self.created_to,
        )

    def keys(self) -> list[GroupKey]:
        """Return what the reviews are grouped by."""
        return [GroupKey(by.value) for by in self.group_by if by is not GroupBy.NONE]


class DriftQuery(BaseModel):
    """What jobs are grouped by."""

    model_config = ConfigDict(extra="forbid")

    by: DriftBy = Field(default=DriftBy.MONTH, description="Months are those of the jobs, in UTC.")


class GradeNumbers(BaseModel):
    """A number for each grade."""

    acceptable: float
    minor_revision: float
    major_revision: float
    unacceptable: float

    @classmethod
    def of(cls, numbers: tuple[float, ...]) -> Self:
        """Show numbers in the order of the grades."""
        return cls(**dict(zip([grade.value for grade in Grade], numbers, strict=True)))


class GradeCounts(BaseModel):
    """How often each grade was given."""

    acceptable: int
    minor_revision: int
    major_revision: int
    unacceptable: int

    @classmethod
    def of(cls, counts: tuple[int, ...]) -> Self:
        """Show counts in the order of the grades."""
        return cls(**dict(zip([grade.value for grade in Grade], counts, strict=True)))


class StructureRow(BaseModel):
    """What readers said of a structure: a row of the paper's Table 2."""

    structure: str
    graded_slices: int
    counts: GradeCounts
    percentages: GradeNumbers
    acceptability: Percentage = Field(description="Acceptable, or after a minor revision.")

    @classmethod
    def of(cls, grades: StructureGrades) -> Self:
        """Show counted grades."""
        return cls(
            structure=grades.structure,
            graded_slices=grades.total,
            counts=GradeCounts.of(grades.counts),
            percentages=GradeNumbers.of(grades.percentages),
            acceptability=grades.acceptability,
        )


class MeanRow(BaseModel):
    """The mean over structures, each counting alike: the paper's last row."""

    percentages: GradeNumbers
    acceptability: Percentage


class GroupResponse(BaseModel):
    """One table of grades."""

    model_config = ConfigDict(protected_namespaces=())

    key: dict[GroupKey, str | None] = Field(description="Empty without groups.")
    structures: list[StructureRow]
    mean: MeanRow
    graded_slices: int = Field(description="Over all structures.")
    jobs: int
    reviews: int
    readers: int
    median_minutes: float | None = Field(description="Of the reviews that tell them.")

    @classmethod
    def of(cls, group: AcceptabilityGroup, group_by: tuple[GroupKey, ...]) -> Self:
        """Show a group."""
        totals: GroupTotals = group.totals
        return cls(
            key=dict(zip(group_by, group.key, strict=True)) if group_by else {},
            structures=[StructureRow.of(grades) for grades in group.structures],
            mean=MeanRow(
                percentages=GradeNumbers.of(group.mean_percentages),
                acceptability=group.mean_acceptability,
            ),
            graded_slices=sum(grades.total for grades in group.structures),
            jobs=totals.jobs,
            reviews=totals.reviews,
            readers=totals.readers,
            median_minutes=totals.median_minutes,
        )


class ReaderPairResponse(BaseModel):
    """How far two readers agree on the slices that both graded."""

    readers: tuple[str, str]
    slices: int
    exact_agreement: float = Field(ge=0, le=1)
    linear_kappa: Kappa
    quadratic_kappa: Kappa

    @classmethod
    def of(cls, pair: ReaderPair) -> Self:
        """Show a pair."""
        return cls(
            readers=pair.readers,
            slices=pair.slices,
            exact_agreement=pair.exact_agreement,
            linear_kappa=_or_null(pair.linear_kappa),
            quadratic_kappa=_or_null(pair.quadratic_kappa),
        )


class AgreementResponse(BaseModel):
    """How far readers agree on a structure."""

    structure: str | None = Field(description="Null: all taken together.")
    pairs: list[ReaderPairResponse]
    mean_linear_kappa: Kappa
    mean_quadratic_kappa: Kappa

    @classmethod
    def of(cls, agreement: Agreement) -> Self:
        """Show the agreement of all pairs."""
        return cls(
            structure=agreement.structure,
            pairs=[ReaderPairResponse.of(pair) for pair in agreement.pairs],
            mean_linear_kappa=_or_null(agreement.mean_linear_kappa),
            mean_quadratic_kappa=_or_null(agreement.mean_quadratic_kappa),
        )


class AcceptabilityResponse(BaseModel):
    """What readers said of contours, and how far they agree."""

    group_by: list[GroupKey]
    groups: list[GroupResponse] = Field(description="Empty where nothing was reviewed.")
    agreement: list[AgreementResponse] = Field(
        description="Of the reviews of one job by different readers, over all groups."
    )

    @classmethod
    def of(cls, report: AcceptabilityReport) -> Self:
        """Show a report."""
        return cls(
            group_by=list(report.group_by),
            groups=[GroupResponse.of(group, report.group_by) for group in report.groups],
            agreement=[AgreementResponse.of(agreement) for agreement in report.agreement],
        )


class EditMeans(BaseModel):
    """How far a structure was edited, on average."""

    edits: int
    dice: float | None
    added_path_length_mm: float | None
    relative_added_path: float | None

    @classmethod
    def of(cls, means: StructureMeans) -> Self:
        """Show means of EDIT_MEASURES."""
        dice, added, relative = means.means
        return cls(
            edits=means.compared,
            dice=dice,
            added_path_length_mm=added,
            relative_added_path=relative,
        )


class ShadowMeans(BaseModel):
    """How far the shadow version agrees with what was released, on average."""

    contours: int
    dice: float | None
    disagreement: float | None = Field(description="1 - dice.")

    @classmethod
    def of(cls, means: StructureMeans) -> Self:
        """Show means of SHADOW_MEASURES."""
        (dice,) = means.means
        return cls(
            contours=means.compared, dice=dice, disagreement=None if dice is None else 1 - dice
        )


class WarningNumbers(BaseModel):
    """QA warnings of jobs."""

    total: int
    per_job: float
    jobs_with_warnings: int

    @classmethod
    def of(cls, jobs: JobTotals) -> Self:
        """Show the warnings of a group of jobs."""
        return cls(
            total=jobs.warnings,
            per_job=jobs.warnings / jobs.jobs,
            jobs_with_warnings=jobs.jobs_with_warnings,
        )


class DriftGroupResponse(BaseModel):
    """How the jobs of a group fared."""

    group: str | None = Field(description="Month such as 2026-03, or name of the weights.")
    jobs: int = Field(description="That succeeded.")
    warnings: WarningNumbers
    acceptability: GroupResponse | None = Field(description="Null where none was reviewed.")
    edits: dict[str, EditMeans] = Field(description="By structure; every compared edit counts.")
    shadows: dict[str, ShadowMeans] = Field(description="By structure.")

    @classmethod
    def of(cls, group: DriftGroup) -> Self:
        """Show a group."""
        reviewed = group.acceptability
        return cls(
            group=group.group,
            jobs=group.jobs.jobs,
            warnings=WarningNumbers.of(group.jobs),
            acceptability=None if reviewed is None else GroupResponse.of(reviewed, ()),
            edits={means.structure: EditMeans.of(means) for means in group.edits},
            shadows={means.structure: ShadowMeans.of(means) for means in group.shadows},
        )


class DriftResponse(BaseModel):
    """How contours fared, group by group."""

    by: DriftBy
    groups: list[DriftGroupResponse]


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value
