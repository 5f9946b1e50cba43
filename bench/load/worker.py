"""A worker whose network passes: it puts a box for every structure and needs no weights.

Everything around the network is the real thing. The app of `celery -A bench.load.worker`.
"""

from collections.abc import Callable

from ml.geometry import Volume
from services.core.settings import load_settings
from services.worker.assembly import create_worker
from services.worker.networks import LoadedNetwork, NetworkOptions
from tests.fakes import BoxPrediction, loaded, predict_boxes


class PassThrough:
    """Returns boxes at once."""

    def predict(self, volume: Volume, on_progress: Callable[[float], None]) -> BoxPrediction:
        """Put the boxes."""
        on_progress(1.0)
        return predict_boxes(volume)


def load_pass_through(_options: NetworkOptions) -> LoadedNetwork:
    """Return the network that passes."""
    return loaded(PassThrough())


app = create_worker(load_settings(), load_pass_through)
