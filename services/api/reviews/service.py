"""Reviews: what readers say of contours, slice by slice."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from ml.grading import Grade
from ml.structures import CERVIX
from services.api.idempotency import KeyedRoute, RequestKey, WorkRequest, text_sha256
from services.api.reviews.errors import (
    DuplicateGradeError,
    SliceOutOfRangeError,
    UnknownStructureError,
)
from services.api.work import check_has_result, check_reader
from services.core.audit import Action, ResourceKind
from services.core.repositories.paging import PageCursor
from services.core.repositories.reviews import NewReview
from services.core.tables.contouring import ContourJob
from services.core.tables.reviews import Review, ReviewGrade, ReviewTally
from services.core.unit_of_work import UnitOfWork


@dataclass(frozen=True, kw_only=True, slots=True)
class GradedRange:
    """One grade of a structure in one or more slices in a row."""

    structure: str
    first_slice: int
    last_slice: int
    grade: Grade
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceGrade:
    """The grade of one structure in one slice."""

    structure: str
    slice_number: int
    grade: str
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PostedReview:
    """A review as a reader sends it."""

    reviewer: str
    minutes: float | None
    comment: str | None
    grades: tuple[GradedRange, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CountedReview:
    """A review and how often it gave each grade."""

    review: Review
    tallies: Sequence[ReviewTally]


class ReviewService:
    """Reviews in the words of the domain."""

    def __init__(self, new_unit_of_work: Callable[[], UnitOfWork]) -> None:
        self._new_unit_of_work = new_unit_of_work

    def post(self, job_id: UUID, posted: PostedReview, request: WorkRequest) -> CountedReview:
        """Keep a review, or return the one that the same keyed request made before.

        Raises:
            ContourJobNotFoundError: no row has the id.
            JobNotFinishedError, JobFailedError, JobCancelledError, ResultPurgedError: the job has
                no result that could be graded.
            UnknownStructureError: a grade names a structure that the job did not draw.
            SliceOutOfRangeError: a grade names a slice that the series does not have.
            DuplicateGradeError: a slice of a structure was graded twice.
            ReaderNameTakenError: the reader's name is another client's.
            IdempotencyKeyReusedError: the key came with a different review.
        """
        key = RequestKey(
            route=KeyedRoute.REVIEWS,
            key=request.idempotency_key,
            request_sha256=text_sha256(f"{job_id} {posted}"),
        )
        with self._new_unit_of_work() as uow:
            review_id = key.find(uow)
            if review_id is not None:
                return _counted(uow, review_id)
            job = uow.contour_jobs.get(job_id)
            check_has_result(job)
            slice_count = uow.series.get(job.series_id).slice_count
        # between the transactions: nobody waits for a hundred thousand grades to be looked at
        grades = list(spread(posted.grades, drawn_structures(job), slice_count))
        with self._new_unit_of_work() as uow:
            check_has_result(uow.contour_jobs.get_locked(job_id))
            check_reader(uow, posted.reviewer)
            review = uow.reviews.add(
                NewReview(
                    job_id=job_id,
                    reviewer=posted.reviewer,
                    minutes=posted.minutes,
                    comment=posted.comment,
                ),
                grades,
            )
            review_id = key.remember(uow, review.id)
            if review_id == review.id:
                uow.audit.record(
                    Action.REVIEW_SUBMITTED,
                    ResourceKind.REVIEW,
                    review_id,
                    contour_job_id=str(job_id),
                    grades=len(grades),
                )
                uow.commit()
                return _counted(uow, review_id)
        # The same request was first at this moment: nothing of this one stays.
        return self.get(review_id)

    def get(self, review_id: UUID) -> CountedReview:
        """Return a review; raises ReviewNotFoundError."""
        with self._new_unit_of_work() as uow:
            return _counted(uow, review_id)

    def grades(self, review_id: UUID) -> tuple[CountedReview, Sequence[ReviewGrade]]:
        """Return a review with its grades; raises ReviewNotFoundError."""
        counted = self.get(review_id)
        with self._new_unit_of_work() as uow:
            return counted, uow.reviews.grades(review_id)

    def page(self, job_id: UUID, limit: int, after: PageCursor | None) -> Sequence[CountedReview]:
        """List the reviews of a job, newest first; raises ContourJobNotFoundError."""
        with self._new_unit_of_work() as uow:
            uow.contour_jobs.get(job_id)
            reviews = uow.reviews.page(job_id, limit, after)
            tallies = uow.reviews.tallies([review.id for review in reviews])
        return [CountedReview(review=review, tallies=tallies[review.id]) for review in reviews]


def _counted(uow: UnitOfWork, review_id: UUID) -> CountedReview:
    review = uow.reviews.get(review_id)
    return CountedReview(review=review, tallies=uow.reviews.tallies([review_id])[review_id])


def drawn_structures(job: ContourJob) -> list[str]:
    """Return the names of what a job drew, those it found nowhere included."""
    return list(dict.fromkeys([*CERVIX.names, *(job.volumes_ml or {})]))


def spread(
    ranges: Sequence[GradedRange], structures: Sequence[str], slice_count: int
) -> Iterator[SliceGrade]:
    """Yield the grade of every slice, each slice of a structure once.

    Raises:
        UnknownStructureError: none of the structures has the name.
        SliceOutOfRangeError: a slice beyond the last.
        DuplicateGradeError: a slice of a structure comes again.
    """
    seen: set[tuple[str, int]] = set()
    for graded in ranges:
        if graded.structure not in structures:
            raise UnknownStructureError(graded.structure, structures)
        if graded.last_slice > slice_count:
            raise SliceOutOfRangeError(graded.last_slice, slice_count)
        for number in range(graded.first_slice, graded.last_slice + 1):
            if (graded.structure, number) in seen:
                raise DuplicateGradeError(graded.structure, number)
            seen.add((graded.structure, number))
            yield SliceGrade(
                structure=graded.structure,
                slice_number=number,
                grade=graded.grade.value,
                tags=graded.tags,
            )
