"""Keeps the network in memory between jobs."""

from services.worker.networks import LoadedNetwork, NetworkLoader, NetworkOptions


class NetworkCache:
    """The network of one process: loaded once, kept until the process ends.

    Only the main thread loads; the housekeeping thread looks.
    """

    def __init__(self, options: NetworkOptions, load: NetworkLoader) -> None:
        self.options = options
        self._load = load
        self._loaded: LoadedNetwork | None = None

    def get(self) -> LoadedNetwork:
        """Return the network, loading it the first time."""
        if self._loaded is None:
            self._loaded = self._load(self.options)
        return self._loaded

    @property
    def loaded(self) -> LoadedNetwork | None:
        """The network if it is in memory now."""
        return self._loaded
