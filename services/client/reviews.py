"""What clinicians say of contours, and what they make of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from services.client.models import Acceptability, Drift, EditedRtstruct, Json, Review
from services.client.transport import Transport, path_to
from services.client.uploads import FileBody, OnBytes
from services.client.waiting import Patience, wait_until_over

Id = UUID | str
DICOM_MEDIA_TYPE = "application/dicom"


class Reviews:
    """Grades, corrected contours and the reports on both."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(
        self,
        job_id: Id,
        reviewer: str,
        grades: Sequence[Json],
        *,
        minutes: float | None = None,
        comment: str | None = None,
    ) -> Review:
        """Grade the contours of a job, by structure and slice or range of slices.

        Args:
            job_id: a job that succeeded.
            reviewer: as the site names its readers.
            grades: `structure`, `grade`, `tags`, and `slice_number` or `first_slice` and
                `last_slice`.
            minutes: spent on it.
            comment: for people.
        """
        body = {
            "reviewer": reviewer,
            "grades": list(grades),
            "minutes": minutes,
            "comment": comment,
        }
        return self._transport.post(path_to("contour-jobs", job_id, "reviews"), Review, body)

    def of_job(self, job_id: Id) -> Iterator[Review]:
        """Yield the reviews of a job, newest first."""
        return self._transport.pages(path_to("contour-jobs", job_id, "reviews"), Review)

    def upload_edit(
        self,
        job_id: Id,
        path: Path,
        reviewer: str,
        *,
        review_id: Id | None = None,
        on_bytes: OnBytes | None = None,
    ) -> EditedRtstruct:
        """Send the RTSTRUCT of a job as it was corrected; it is compared with the original."""
        return self._transport.upload(
            path_to("contour-jobs", job_id, "edited-rtstructs"),
            EditedRtstruct,
            FileBody(path, DICOM_MEDIA_TYPE),
            params={"reviewer": reviewer, "review_id": review_id},
            on_bytes=on_bytes,
        )

    def edited(self, edited_id: Id) -> EditedRtstruct:
        """Return an edited RTSTRUCT."""
        return self._transport.get(path_to("edited-rtstructs", edited_id), EditedRtstruct)

    def wait_for_edit(
        self,
        edited_id: Id,
        on_progress: Callable[[EditedRtstruct], None] | None = None,
        patience: Patience | None = None,
    ) -> EditedRtstruct:
        """Return an edited RTSTRUCT once its comparison is over, in whatever way."""
        return wait_until_over(lambda: self.edited(edited_id), on_progress, patience)

    def acceptability(self, wanted: Mapping[str, object] | None = None) -> Acceptability:
        """Return how acceptable contours were.

        Args:
            wanted: `group_by`, a list of one or two of structure, model_version, month and
                reviewer; `model_version`, `structure`, `reviewer`, `created_from` and
                `created_to` narrow it.
        """
        return self._transport.get(path_to("reports", "acceptability"), Acceptability, wanted)

    def drift(self, by: str = "month") -> Drift:
        """Return how contours fared, month by month or by model_version."""
        return self._transport.get(path_to("reports", "drift"), Drift, {"by": by})
