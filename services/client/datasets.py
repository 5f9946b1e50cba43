"""Datasets and their versions."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

from services.client.errors import NoSuchNameError
from services.client.models import (
    AddedCases,
    AddedSources,
    Dataset,
    DatasetCase,
    DatasetSummary,
    DatasetVersion,
    Json,
)
from services.client.names import id_of
from services.client.transport import Transport, path_to
from services.client.uploads import OnBytes, upload_body
from services.client.waiting import Patience, wait_until_over

Id = UUID | str
MAX_NAMED_RTSTRUCTS = 1000


class Datasets:
    """Cases, gathered under names and read into versions."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self, name: str, *, folder: str | None = None, mapping: Json | None = None
    ) -> Dataset:
        """Make a dataset; `folder` is a path below the one that is mounted for datasets."""
        body = {"name": name, "folder": folder, "mapping": mapping or {}}
        return self._transport.post(path_to("datasets"), Dataset, body)

    def list_all(self) -> Iterator[DatasetSummary]:
        """Yield datasets, newest first."""
        return self._transport.pages(path_to("datasets"), DatasetSummary)

    def get(self, dataset_id: Id) -> Dataset:
        """Return a dataset."""
        return self._transport.get(path_to("datasets", dataset_id), Dataset)

    def find_id(self, name: str) -> UUID:
        """Return the id of the dataset of a name, or of the one whose id stands there.

        Raises:
            NoSuchNameError: there is none.
        """
        return id_of("dataset", name, self.list_all())

    def put_mapping(self, dataset_id: Id, mapping: Json) -> Dataset:
        """Say what the names of regions mean in the versions made from now on."""
        return self._transport.put(path_to("datasets", dataset_id, "mapping"), Dataset, mapping)

    def upload(
        self, dataset_id: Id, paths: Sequence[Path], on_bytes: OnBytes | None = None
    ) -> AddedCases:
        """Send CT series and RTSTRUCTs of any number of cases: folders, files or a zip."""
        return self._transport.upload(
            path_to("datasets", dataset_id, "cases"),
            AddedCases,
            upload_body(paths),
            on_bytes=on_bytes,
        )

    def add_folder(self, dataset_id: Id, folder: str) -> AddedSources:
        """Add a folder below the one that is mounted for datasets."""
        body = {"folder": folder}
        return self._transport.post(path_to("datasets", dataset_id, "folders"), AddedSources, body)

    def add_edited(self, dataset_id: Id, edited_ids: Sequence[Id] = ()) -> AddedSources:
        """Add contours that clinicians corrected; without ids all that are no sources yet."""
        body = {"edited_rtstruct_ids": [str(i) for i in edited_ids]} if edited_ids else {}
        path = path_to("datasets", dataset_id, "edited-rtstructs")
        return self._transport.post(path, AddedSources, body)

    def index(self, dataset_id: Id, options: Json | None = None) -> DatasetVersion:
        """Queue a version: all sources are read anew; `options` as POST versions takes them."""
        path = path_to("datasets", dataset_id, "versions")
        return self._transport.post(path, DatasetVersion, options or {})

    def versions(self, dataset_id: Id) -> Iterator[DatasetVersion]:
        """Yield the versions of a dataset, newest first."""
        return self._transport.pages(path_to("datasets", dataset_id, "versions"), DatasetVersion)

    def version(self, version_id: Id) -> DatasetVersion:
        """Return a dataset version."""
        return self._transport.get(path_to("dataset-versions", version_id), DatasetVersion)

    def find_version_id(self, text: str) -> UUID:
        """Return the id of a version that is given as an id, as NAME:NUMBER, or as NAME.

        A name alone means its latest version that succeeded.

        Raises:
            NoSuchNameError: there is none.
        """
        try:
            return UUID(text)
        except ValueError:
            pass
        name, _, number = text.partition(":")
        for version in self.versions(self.find_id(name)):
            if str(version.number) == number or (not number and version.state == "succeeded"):
                return version.id
        raise NoSuchNameError("dataset version", text)

    def cancel_version(self, version_id: Id) -> DatasetVersion:
        """End a queued version at once and ask a running one to stop."""
        return self._transport.post(
            path_to("dataset-versions", version_id, "cancel"), DatasetVersion
        )

    def wait_for_version(
        self,
        version_id: Id,
        on_progress: Callable[[DatasetVersion], None] | None = None,
        patience: Patience | None = None,
    ) -> DatasetVersion:
        """Return a version once it is over, in whatever way."""
        return wait_until_over(lambda: self.version(version_id), on_progress, patience)

    def cases(
        self, version_id: Id, *, status: str | None = None, part: str | None = None
    ) -> Iterator[DatasetCase]:
        """Yield what became of every candidate of a version."""
        path = path_to("dataset-versions", version_id, "cases")
        return self._transport.pages(path, DatasetCase, {"status": status, "part": part})
