"""The API's composition root: `uvicorn --factory services.api.main:create_app`."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI

from services.api.autocontour.routes import router as autocontour_router
from services.api.contour_jobs.routes import router as contour_jobs_router
from services.api.correlation import RequestContextMiddleware
from services.api.dataset_versions.routes import router as dataset_versions_router
from services.api.datasets.routes import router as datasets_router
from services.api.dependencies import Dependencies
from services.api.docs import add_docs
from services.api.edited_rtstructs.routes import router as edited_rtstructs_router
from services.api.error_handlers import add_error_handlers
from services.api.experiments.report_routes import router as experiment_reports_router
from services.api.experiments.routes import router as experiments_router
from services.api.experiments.run_routes import router as runs_router
from services.api.health.routes import router as health_router
from services.api.model_aliases.routes import router as model_aliases_router
from services.api.model_versions.archive import MEMBERS
from services.api.model_versions.routes import router as model_versions_router
from services.api.model_versions.transfer_routes import router as model_transfer_router
from services.api.openapi import add_openapi
from services.api.quality.routes import router as quality_router
from services.api.reviews.routes import router as reviews_router
from services.api.series.routes import router as series_router
from services.api.uploads.limits import UploadLimits
from services.core.database import create_database_engine, create_sessions
from services.core.logging import configure_logging
from services.core.queue import CeleryQueue, JobQueue, create_celery
from services.core.settings import Settings, load_settings
from services.core.storage import FilesystemStorage
from services.core.unit_of_work import UnitOfWork
from services.core.version import software_version

VALIDATION_SLOTS = 2
"""Uploads validated at a time: enough to use the disk, few enough to leave cores for requests."""
DATASET_SLOTS = 1
"""Uploads of many cases that are unpacked and looked through at a time."""
MAX_COMPRESSION_RATIO = 200.0
"""Unpacked bytes per zip byte. A CT reaches 2 to 4, a smooth test image some tens, a bomb 1000."""


def create_app(settings: Settings | None = None, queue: JobQueue | None = None) -> FastAPI:
    """Build the API; it connects to nothing before its lifespan starts.

    Args:
        settings: read from the environment when not given.
        queue: where messages go instead of the broker of the settings.
    """
    settings = load_settings() if settings is None else settings
    app = FastAPI(
        title="CerviContour API",
        version=software_version(),
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(settings, queue),
    )
    for router in (
        autocontour_router,
        series_router,
        contour_jobs_router,
        datasets_router,
        dataset_versions_router,
        experiments_router,
        runs_router,
        experiment_reports_router,
        reviews_router,
        edited_rtstructs_router,
        quality_router,
        model_versions_router,
        model_transfer_router,
        model_aliases_router,
        health_router,
    ):
        app.include_router(router)
    add_error_handlers(app)
    add_openapi(app)
    add_docs(app)
    app.add_middleware(RequestContextMiddleware)
    return app


def _lifespan(
    settings: Settings, queue: JobQueue | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        configure_logging(settings.log_level)
        # Its lines quote whole addresses; the middleware writes one without for every request.
        access_log = logging.getLogger("uvicorn.access")
        access_log.disabled = True
        engine = create_database_engine(settings.database_url.get_secret_value())
        sessions = create_sessions(engine)
        jobs = queue or CeleryQueue(
            create_celery(
                settings.broker_url.get_secret_value(),
                settings.broker_dir,
                settings.visibility_timeout_seconds,
            )
        )
        app.state.dependencies = Dependencies(
            new_unit_of_work=lambda: UnitOfWork(sessions, jobs),
            storage=FilesystemStorage(settings.data_dir),
            queue=jobs,
            upload_limits=_upload_limits(settings),
            dataset_upload_limits=_dataset_upload_limits(settings),
            model_limits=_model_limits(settings),
            max_attempts=settings.max_attempts,
            datasets_dir=settings.datasets_dir,
            worker_silent_seconds=settings.worker_silent_seconds,
            validation_slots=CapacityLimiter(VALIDATION_SLOTS),
            dataset_slots=CapacityLimiter(DATASET_SLOTS),
        )
        for name in ("ml.dicom.series", "ml.dicom.rtstruct_references"):
            await to_thread.run_sync(import_module, name)
        yield
        engine.dispose()
        access_log.disabled = False

    return lifespan


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_upload_bytes=settings.max_upload_bytes,
        max_unpacked_bytes=settings.max_unpacked_bytes,
        max_file_bytes=settings.max_file_bytes,
        max_files=settings.max_files,
        max_compression_ratio=MAX_COMPRESSION_RATIO,
    )


def _dataset_upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_upload_bytes=settings.max_dataset_upload_bytes,
        max_unpacked_bytes=settings.max_dataset_unpacked_bytes,
        max_file_bytes=settings.max_file_bytes,
        max_files=settings.max_dataset_files,
        max_compression_ratio=MAX_COMPRESSION_RATIO,
    )


def _model_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_upload_bytes=settings.max_model_bytes,
        max_unpacked_bytes=settings.max_model_bytes,
        max_file_bytes=settings.max_model_bytes,
        max_files=len(MEMBERS),
        max_compression_ratio=MAX_COMPRESSION_RATIO,
    )
