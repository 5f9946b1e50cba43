"""Composition root of the workers: `celery -A services.worker.app worker -Q inference`."""

from services.core.settings import load_settings
from services.worker.assembly import create_worker
from services.worker.networks import load_network

app = create_worker(load_settings(), load_network)
