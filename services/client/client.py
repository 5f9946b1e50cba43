"""The client: a CT series in, an RTSTRUCT out; and training, model versions and reviews."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx

from services.client.datasets import Datasets
from services.client.experiments import Experiments
from services.client.model_versions import ModelVersions
from services.client.models import ContourJob, Health, Submission
from services.client.reviews import Reviews
from services.client.transport import RetryPolicy, Transport, path_to
from services.client.uploads import OnBytes, upload_body
from services.client.waiting import Patience, wait_until_over

DEFAULT_BASE_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 60.0
"""For an answer; four times what the service may stay silent in a stream."""
CONNECT_SECONDS = 5.0

Id = UUID | str


class CerviContourClient:
    """A service at an address; use it as a context manager.

    Every POST has an Idempotency-Key of its own and is sent again when the connection broke or
    the service said 503 with Retry-After: nothing is made twice. Methods raise ClientError.

    Args:
        base_url: as in http://127.0.0.1:8000.
        timeout: seconds for an answer; uploads have longer.
        api_key: of the service, or a token of its identity provider; kept out of logs by whoever
            passes it.
        headers: sent with every request, for example what a proxy before the service asks for.
        trust_env: heed proxy and certificate variables of the environment. Not by default: a
            hospital's proxy must not be asked for a service on this machine.
        retries: how often requests are sent.

    Raises:
        ValueError: the address is none of http or https, or the key none that can be sent.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        api_key: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        headers: Mapping[str, str] | None = None,
        trust_env: bool = False,
        retries: RetryPolicy | None = None,
    ) -> None:
        http = httpx.Client(
            base_url=_checked(base_url),
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            headers=_headers(api_key, headers or {}),
            trust_env=trust_env,
        )
        self._transport = Transport(http, retries or RetryPolicy())
        self.datasets = Datasets(self._transport)
        self.experiments = Experiments(self._transport)
        self.models = ModelVersions(self._transport)
        self.reviews = Reviews(self._transport)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def health(self) -> Health:
        """Return whether a job posted now would be contoured, and what is missing; asked once."""
        return self._transport.find_state("/health/ready", Health)

    def submit(self, ct: Path | Sequence[Path], on_bytes: OnBytes | None = None) -> Submission:
        """Send one CT series, as a folder, files or a zip, and queue its contouring."""
        paths = [ct] if isinstance(ct, Path) else ct
        return self._transport.upload(
            path_to("autocontour"), Submission, upload_body(paths), on_bytes=on_bytes
        )

    def job(self, job_id: Id) -> ContourJob:
        """Return a contour job."""
        return self._transport.get(path_to("contour-jobs", job_id), ContourJob)

    def jobs(
        self, *, state: str | None = None, series_id: Id | None = None
    ) -> Iterator[ContourJob]:
        """Yield contour jobs, newest first."""
        wanted = {"state": state, "series_id": series_id}
        return self._transport.pages(path_to("contour-jobs"), ContourJob, wanted)

    def cancel_job(self, job_id: Id) -> ContourJob:
        """End a queued job at once and ask a running one to stop."""
        return self._transport.post(path_to("contour-jobs", job_id, "cancel"), ContourJob)

    def wait_for_job(
        self,
        job_id: Id,
        on_progress: Callable[[ContourJob], None] | None = None,
        patience: Patience | None = None,
    ) -> ContourJob:
        """Return a job once it is over, in whatever way; see waiting.check_succeeded."""
        return wait_until_over(lambda: self.job(job_id), on_progress, patience)

    def download_rtstruct(self, job_id: Id, path: Path) -> Path:
        """Write the RTSTRUCT of a job to a file, checked against its SHA-256, whole or not."""
        return self._transport.download(path_to("contour-jobs", job_id, "rtstruct"), path)


def _headers(api_key: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    if api_key is None:
        return dict(headers)
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError("an API key is one word of ASCII characters")  # which is not shown
    return {"Authorization": f"Bearer {api_key}", **headers}


def _checked(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is no address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{base_url!r} is no address as in {DEFAULT_BASE_URL}")
    return url
