"""Keeps networks in memory between jobs: that of production and its shadow's."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from services.core.model_errors import WeightsChangedError
from services.core.repositories.model_versions import ServedVersion
from services.core.storage import CARD_NAME, WEIGHTS_NAME, Storage, StoredKind
from services.worker.networks import (
    LoadedNetwork,
    NetworkLoader,
    NetworkOptions,
    WeightsUnusableError,
)

CAPACITY = 2
"""Networks in memory at a time: one contours, one may be its shadow."""

VersionId = UUID | None
"""None: the weights of the settings."""


class NetworkCache:
    """The networks of one process; of more than two the one that was not used longest goes.

    Only the main thread loads; the housekeeping thread looks.
    """

    def __init__(self, options: NetworkOptions, load: NetworkLoader, storage: Storage) -> None:
        self.options = options
        self._load = load
        self._storage = storage
        self._loaded: dict[VersionId, LoadedNetwork] = {}

    def get(self, version: ServedVersion | None) -> LoadedNetwork:
        """Return the network of a version, or that of the settings, loading it if need be.

        Raises:
            StoredFilesMissingError: the files of the version are gone.
            WeightsChangedError: they are not those that were checked.
            WeightsUnusableError: the weights of the settings make no network.
        """
        version_id = version.id if version else None
        # Last in the dictionary is what was used last. It is replaced, never changed, because
        # the other thread reads it.
        others = {key: known for key, known in self._loaded.items() if key != version_id}
        network = self._loaded.get(version_id)
        if network is None:
            others = dict(list(others.items())[-(CAPACITY - 1) :])
            self._loaded = others  # its memory is free before the next one needs some
            network = self._load_version(version) if version else self._load(self.options)
        self._loaded = others | {version_id: network}
        return network

    def load_file(self, weights_path: Path) -> LoadedNetwork:
        """Load weights as those of a version are loaded, and keep them out of the cache.

        Raises:
            WeightsUnusableError: they do not make a network.
        """
        return self._load(replace(self.options, weights_path=weights_path))

    @property
    def loaded(self) -> dict[VersionId, LoadedNetwork]:
        """The networks that are in memory now, by version; the last was used last."""
        return dict(self._loaded)

    def _load_version(self, version: ServedVersion) -> LoadedNetwork:
        self._storage.file(StoredKind.MODEL_VERSIONS, version.id, CARD_NAME)
        path = self._storage.file(StoredKind.MODEL_VERSIONS, version.id, WEIGHTS_NAME)
        expected = version.weights_sha256
        try:
            network = self.load_file(path)
        except WeightsUnusableError as error:  # they were usable when they were checked
            raise WeightsChangedError(version.id, expected=expected, found=None) from error
        found = network.weights_sha256
        if found != expected or network.model_version != version.name:
            raise WeightsChangedError(version.id, expected=expected, found=found)
        return network
