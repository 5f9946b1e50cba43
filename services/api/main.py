"""The API's composition root: `uvicorn --factory services.api.main:create_app`."""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from sqlalchemy import Engine
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.api.access.gate import Gate
from services.api.access.identity_keys import IdentityKeys
from services.api.access.keys import KeyAuthenticator
from services.api.access.middleware import AccessMiddleware
from services.api.access.rates import RateLimiter
from services.api.access.roles import check_routes
from services.api.access.tokens import TokenAuthenticator, TokenRules
from services.api.api_keys.me_routes import router as me_router
from services.api.api_keys.routes import router as api_keys_router
from services.api.audit_entries.routes import router as audit_entries_router
from services.api.autocontour.routes import router as autocontour_router
from services.api.body_limits import BodyLimits, BodyLimitsMiddleware, takes_upload
from services.api.bounded import BoundedProcesses, BoundedWork, WorkLimits, warm_all
from services.api.contour_jobs.routes import router as contour_jobs_router
from services.api.correlation import RequestContextMiddleware
from services.api.dataset_versions.routes import router as dataset_versions_router
from services.api.datasets.deletion_routes import router as dataset_deletion_router
from services.api.datasets.routes import router as datasets_router
from services.api.deletions.routes import router as deletions_router
from services.api.dependencies import Dependencies
from services.api.docs import add_docs
from services.api.edited_rtstructs.routes import router as edited_rtstructs_router
from services.api.error_handlers import add_error_handlers
from services.api.experiments.report_routes import router as experiment_reports_router
from services.api.experiments.routes import router as experiments_router
from services.api.experiments.run_routes import router as runs_router
from services.api.health.routes import router as health_router
from services.api.health.service import Health
from services.api.metrics.routes import router as metrics_router
from services.api.metrics.service import Metrics
from services.api.metrics.snapshot import Looks, read_rows, read_storage
from services.api.model_aliases.routes import router as model_aliases_router
from services.api.model_versions.archive import MEMBERS
from services.api.model_versions.routes import router as model_versions_router
from services.api.model_versions.transfer_routes import router as model_transfer_router
from services.api.openapi import add_openapi
from services.api.probes import PROBE_TIMES, Probe, ProbeTimes
from services.api.quality.routes import router as quality_router
from services.api.refusals import RefusalTally
from services.api.reviews.routes import router as reviews_router
from services.api.series.routes import router as series_router
from services.api.slots import Slots, TooManyStreamsError, TooManyUploadsError
from services.api.telemetry import Telemetry, TelemetryMiddleware
from services.api.uploads.limits import UploadLimits
from services.core.database import create_database_engine, create_reading_sessions, create_sessions
from services.core.errors import PrivateKeyChangedError, PrivateKeyMissingError
from services.core.logging import configure_logging, get_logger
from services.core.queue import CeleryQueue, JobQueue, create_celery
from services.core.settings import MEBIBYTE, Settings, load_settings
from services.core.storage import FilesystemStorage
from services.core.storage_facts import StorageFacts
from services.core.tables.operations import WorkerHeartbeat
from services.core.unit_of_work import UnitOfWork
from services.core.version import software_version

log = get_logger(__name__)

VALIDATION_SLOTS = 2
"""Uploads validated at a time: enough to use the disk, few enough to leave cores for requests."""
DATASET_SLOTS = 1
"""Uploads of many cases that are unpacked and looked through at a time."""
RELINK_SLOTS = 1
"""Results linked back to their patient at a time."""
MAX_STREAMS = 16
"""Of events that one client follows at a time: each reads the database once a second."""
MAX_BODY_DEPTH = 32
"""Lists and tables within each other; what the routes take has five."""
SLOWEST_BYTES_PER_SECOND = 2 * MEBIBYTE
"""As fast at least a received byte is unpacked, parsed, hashed and written by a busy machine."""
MAX_COMPRESSION_RATIO = 200.0
"""Unpacked bytes per zip byte. A CT reaches 2 to 4, a smooth test image some tens, a bomb 1000."""


def create_app(
    settings: Settings | None = None,
    queue: JobQueue | None = None,
    bounded: BoundedWork | None = None,
    *,
    probes: ProbeTimes = PROBE_TIMES,
) -> FastAPI:
    """Build the API; it connects to nothing before its lifespan starts.

    Args:
        settings: read from the environment when not given.
        queue: where messages go instead of the broker of the settings.
        bounded: what reads uploads instead of processes made for it.
        probes: how long database, broker and storage may take to answer, and are believed.
    """
    settings = load_settings() if settings is None else settings
    telemetry = Telemetry()
    app = FastAPI(
        title="CerviContour API",
        version=software_version(),
        openapi_url=None,  # add_openapi() has it
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(settings, queue, bounded, telemetry, probes),
    )
    routers = (
        autocontour_router,
        series_router,
        contour_jobs_router,
        datasets_router,
        dataset_deletion_router,
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
        api_keys_router,
        me_router,
        deletions_router,
        audit_entries_router,
        health_router,
        metrics_router,
    )
    for router in routers:
        app.include_router(router)
    add_error_handlers(app)
    add_openapi(app)
    add_docs(app)
    check_routes(app)
    app.add_middleware(
        BodyLimitsMiddleware,
        limits=_body_limits(settings),
        upload_routes=[r for router in routers for r in router.routes if takes_upload(r)],
    )
    app.add_middleware(AccessMiddleware)
    app.add_middleware(RequestContextMiddleware)  # the last is the outermost
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    if settings.trusted_proxies:
        proxies = [str(network) for network in settings.trusted_proxies]
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    return app


def _lifespan(
    settings: Settings,
    queue: JobQueue | None,
    bounded: BoundedWork | None,
    telemetry: Telemetry,
    times: ProbeTimes,
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
            unit_of_work_of=lambda actor: UnitOfWork(sessions, jobs, actor=actor),
            storage=FilesystemStorage(settings.data_dir),
            queue=jobs,
            upload_limits=_upload_limits(settings),
            dataset_upload_limits=_dataset_upload_limits(settings),
            model_limits=_model_limits(settings),
            max_attempts=settings.max_attempts,
            api_key_days=settings.api_key_days,
            datasets_dir=settings.datasets_dir,
            worker_silent_seconds=settings.worker_silent_seconds,
            validation_slots=CapacityLimiter(VALIDATION_SLOTS),
            dataset_slots=CapacityLimiter(DATASET_SLOTS),
            bounded=bounded or BoundedProcesses(_work_limits(settings), VALIDATION_SLOTS),
            relink_bounded=bounded or BoundedProcesses(_work_limits(settings), RELINK_SLOTS),
            dataset_bounded=bounded or BoundedProcesses(_work_limits(settings), DATASET_SLOTS),
            telemetry=telemetry,
            deidentifies_series=settings.deidentify_stored_series,
        )
        reading = create_reading_sessions(engine)
        health, looks = _probes(
            settings, app.state.dependencies, lambda: UnitOfWork(reading, jobs), times
        )
        app.state.health = health
        app.state.metrics = Metrics(telemetry, looks)
        await to_thread.run_sync(_make_keys, app.state.dependencies)
        app.state.gate = _gate(settings, engine)
        app.state.upload_slots = Slots(settings.max_concurrent_uploads, TooManyUploadsError)
        app.state.stream_slots = Slots(MAX_STREAMS, TooManyStreamsError)
        app.state.refusals = RefusalTally(app.state.dependencies.unit_of_work_of)
        works = [app.state.dependencies.bounded, app.state.dependencies.dataset_bounded]
        if settings.deidentify_stored_series:
            works.append(app.state.dependencies.relink_bounded)
        await warm_all(works)
        _keep_for_good()
        watch = asyncio.create_task(telemetry.watch_event_loop())
        writing = asyncio.create_task(app.state.refusals.write_until_cancelled())
        yield
        watch.cancel()
        writing.cancel()
        await asyncio.gather(watch, writing, return_exceptions=True)
        await app.state.refusals.write_if_possible()
        gc.unfreeze()
        engine.dispose()
        access_log.disabled = False

    return lifespan


def _probes(
    settings: Settings,
    dependencies: Dependencies,
    new_unit_of_work: Callable[[], UnitOfWork],
    times: ProbeTimes,
) -> tuple[Health, Looks]:
    silent = settings.worker_silent_seconds
    facts = StorageFacts(settings.data_dir)

    def workers() -> list[WorkerHeartbeat]:
        with new_unit_of_work() as uow:
            return uow.workers.seen_within(silent)

    looks_at = {"broker": dependencies.queue.check, "storage": dependencies.storage.check}
    if dependencies.deidentifier is not None:
        looks_at["private_keys"] = dependencies.deidentifier.check
    components = {name: Probe(look, times=times) for name, look in looks_at.items()}
    health = Health(workers=Probe(workers, times=times), components=components)
    looks = Looks(
        rows=Probe(lambda: read_rows(new_unit_of_work()), times=times),
        stored=Probe(lambda: read_storage(facts), times=times),
        components=components,
        worker_silent_seconds=silent,
    )
    return health, looks


def _make_keys(dependencies: Dependencies) -> None:
    """Make the keys of de-identification, or say that they are lost.

    The rest of the service works without; /health/ready names them until they are back.
    """

    def has_seals() -> bool:
        with dependencies.new_unit_of_work() as uow:
            return uow.series.has_deidentified()

    def has_pseudonyms() -> bool:
        with dependencies.new_unit_of_work() as uow:
            return uow.series.has_deidentified() or uow.dataset_cases.has_patients()

    if dependencies.deidentifier is None:
        return
    try:
        dependencies.deidentifier.make_keys(has_pseudonyms, has_seals)
    except (PrivateKeyMissingError, PrivateKeyChangedError) as error:
        log.error("series cannot be de-identified", code=error.code, **error.context)  # noqa: TRY400 (the code says it)


def _gate(settings: Settings, engine: Engine) -> Gate:
    keys = KeyAuthenticator(create_reading_sessions(engine), create_sessions(engine))
    tokens = None
    if settings.oidc_issuer is not None:
        rules = TokenRules(
            issuer=settings.oidc_issuer,
            audience=settings.oidc_audience or "",
            roles_claim=settings.oidc_roles_claim,
            role_map=settings.oidc_role_map,
        )
        tokens = TokenAuthenticator(
            rules, IdentityKeys(settings.oidc_issuer, settings.oidc_jwks_url)
        )
    return Gate(
        keys=keys,
        tokens=tokens,
        requests=RateLimiter(settings.requests_per_minute),
        failures=RateLimiter(settings.failed_logins_per_minute),
    )


def _body_limits(settings: Settings) -> BodyLimits:
    return BodyLimits(
        max_bytes=settings.max_body_bytes,
        max_depth=MAX_BODY_DEPTH,
        idle_seconds=settings.body_idle_seconds,
    )


def _work_limits(settings: Settings) -> WorkLimits:
    return WorkLimits(
        seconds=settings.parse_time_limit_seconds,
        bytes_per_second=SLOWEST_BYTES_PER_SECOND,
        memory_bytes=settings.max_parse_memory_bytes,
    )


def _keep_for_good() -> None:
    """Have collections of garbage pass over what exists now, which is all needed to the end.

    A full collection walks everything the API imported, for 0.2 s on a busy machine, and keeps
    every request waiting: it would be the longest stall of the event loop by far.
    """
    gc.collect()
    gc.freeze()


def _upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_upload_bytes=settings.max_upload_bytes,
        max_unpacked_bytes=settings.max_unpacked_bytes,
        max_file_bytes=settings.max_file_bytes,
        max_files=settings.max_files,
        max_compression_ratio=MAX_COMPRESSION_RATIO,
        idle_seconds=settings.upload_idle_seconds,
        most_seconds=settings.upload_time_limit_seconds,
    )


def _dataset_upload_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_upload_bytes=settings.max_dataset_upload_bytes,
        max_unpacked_bytes=settings.max_dataset_unpacked_bytes,
        max_file_bytes=settings.max_file_bytes,
        max_files=settings.max_dataset_files,
        max_compression_ratio=MAX_COMPRESSION_RATIO,
        idle_seconds=settings.upload_idle_seconds,
        most_seconds=settings.upload_time_limit_seconds,
    )


def _model_limits(settings: Settings) -> UploadLimits:
    return UploadLimits(
        max_upload_bytes=settings.max_model_bytes,
        max_unpacked_bytes=settings.max_model_bytes,
        max_file_bytes=settings.max_model_bytes,
        max_files=len(MEMBERS),
        max_compression_ratio=MAX_COMPRESSION_RATIO,
        idle_seconds=settings.upload_idle_seconds,
        most_seconds=settings.upload_time_limit_seconds,
    )
