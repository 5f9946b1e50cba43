"""Networks stay in memory, at most two of them, and only those that were checked are used."""

from uuid import UUID

import pytest

from services.core.errors import StoredFilesMissingError
from services.core.model_errors import WeightsChangedError
from services.core.repositories.model_versions import ServedVersion
from services.core.storage import CARD_NAME, WEIGHTS_NAME, FilesystemStorage, StoredKind
from services.core.unit_of_work import UnitOfWork
from services.worker.network_cache import NetworkCache
from services.worker.networks import (
    LoadedNetwork,
    NetworkOptions,
    load_network,
)
from tests.factories.model_versions import add_version, rename_card, write_weights

OPTIONS = NetworkOptions(weights_path=None, device="cpu", batch_size=2, thread_count=1)


class Loads:
    """Loads networks and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, options: NetworkOptions) -> LoadedNetwork:
        self.count += 1
        return load_network(options)


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def cache(loads: Loads, storage: FilesystemStorage) -> NetworkCache:
    return NetworkCache(OPTIONS, loads, storage)


def served(uow: UnitOfWork, storage: FilesystemStorage, number: int) -> ServedVersion:
    version_id = add_version(uow, storage, f"v{number}", seed=number)
    with uow:
        return uow.model_versions.get_served(version_id)


def replace_files(storage: FilesystemStorage, version_id: UUID, *, seed: int, name: str) -> None:
    with storage.staging() as folder:
        write_weights(folder, seed)
        rename_card(folder, name)
        storage.publish(StoredKind.MODEL_VERSIONS, folder, version_id)


class TestGet:
    def test_nothing_is_loaded_before_it_is_asked_for(
        self, cache: NetworkCache, loads: Loads
    ) -> None:
        assert cache.loaded == {}

        network = cache.get(None)

        assert cache.loaded == {None: network}
        assert cache.get(None) is network
        assert loads.count == 1

    def test_a_version_is_loaded_from_its_own_files(
        self, cache: NetworkCache, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version = served(uow, storage, 1)

        network = cache.get(version)

        assert (network.model_version, network.weights_sha256) == ("v1", version.weights_sha256)

    def test_of_more_than_two_the_one_used_longest_ago_goes(
        self, cache: NetworkCache, loads: Loads, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        first, second, third = (served(uow, storage, number) for number in range(3))
        cache.get(first)
        cache.get(second)
        cache.get(first)

        cache.get(third)

        assert list(cache.loaded) == [first.id, third.id]
        cache.get(first)
        assert loads.count == 3

    def test_while_one_is_loaded_no_third_is_in_memory(
        self, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        held: list[int] = []

        def load(options: NetworkOptions) -> LoadedNetwork:
            held.append(len(cache.loaded))
            return load_network(options)

        cache = NetworkCache(OPTIONS, load, storage)
        for number in range(3):
            cache.get(served(uow, storage, number))

        assert held == [0, 1, 1]


class TestRefusals:
    @pytest.mark.parametrize("name", [CARD_NAME, WEIGHTS_NAME])
    def test_missing_files_are_told(
        self, cache: NetworkCache, uow: UnitOfWork, storage: FilesystemStorage, name: str
    ) -> None:
        version = served(uow, storage, 1)
        storage.file(StoredKind.MODEL_VERSIONS, version.id, name).unlink()

        with pytest.raises(StoredFilesMissingError):
            cache.get(version)

    @pytest.mark.parametrize(("seed", "name"), [(2, "v1"), (1, "v2")])
    def test_files_of_another_version_are_not_used(
        self,
        cache: NetworkCache,
        uow: UnitOfWork,
        storage: FilesystemStorage,
        seed: int,
        name: str,
    ) -> None:
        version = served(uow, storage, 1)
        replace_files(storage, version.id, seed=seed, name=name)

        with pytest.raises(WeightsChangedError):
            cache.get(version)
        assert cache.loaded == {}

    def test_weights_that_are_not_of_their_card_are_not_used(
        self, cache: NetworkCache, uow: UnitOfWork, storage: FilesystemStorage
    ) -> None:
        version = served(uow, storage, 1)
        path = storage.file(StoredKind.MODEL_VERSIONS, version.id, WEIGHTS_NAME)
        path.write_bytes(path.read_bytes()[:-1] + b"x")

        with pytest.raises(WeightsChangedError):
            cache.get(version)
