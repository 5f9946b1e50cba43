"""What the client raises: sentences with a stable code."""

from typing import Any


class ClientError(Exception):
    """Something was not done; `code` is stable and may be branched on."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ProblemError(ClientError):
    """The service refused or failed, and said why in problem details (RFC 9457).

    Attributes:
        status: of HTTP.
        detail: what is wrong in this case.
        context: facts of the case, such as `file_names` or limits.
        correlation_id: finds the service's log lines of this request.
    """

    def __init__(
        self,
        code: str,
        *,
        status: int,
        detail: str,
        context: dict[str, Any],  # Any: nested json values
        correlation_id: str,
    ) -> None:
        super().__init__(code, detail)
        self.status = status
        self.detail = detail
        self.context = context
        self.correlation_id = correlation_id


class UnexpectedAnswerError(ClientError):
    """Something answered, but not as this service does: a proxy, or another version."""

    def __init__(self, status: int, path: str, reason: str) -> None:
        super().__init__("unexpected_answer", f"{path} was answered with {status}: {reason}")
        self.status = status


class ServiceUnreachableError(ClientError):
    """Nothing answered at the address, or the connection broke every time."""

    def __init__(self, base_url: str, reason: str) -> None:
        super().__init__("service_unreachable", f"{base_url} cannot be reached: {reason}")
        self.base_url = base_url


class DownloadDamagedError(ClientError):
    """What arrived is not what the service has; nothing was kept."""

    def __init__(self, path: str) -> None:
        super().__init__("download_damaged", f"{path} arrived with another SHA-256 than announced")


class UploadFilesError(ClientError):
    """There is nothing to send, or a file changed while it was sent."""

    def __init__(self, message: str) -> None:
        super().__init__("upload_files", message)


class WorkFailedError(ClientError):
    """Work that was waited for ended without a result; `code` is the service's."""


class WaitedTooLongError(ClientError):
    """Work was not over in the time given to it; it goes on."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__("waited_too_long", f"{what} is not over after {seconds:g} s; it goes on")


class NoSuchNameError(ClientError):
    """Nothing has the name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"{kind.replace(' ', '_')}_not_found", f"there is no {kind} {name!r}")
