"""Model versions and the aliases that put them to work."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from services.client.errors import NoSuchNameError, ProblemError
from services.client.models import Json, ModelAlias, ModelAliases, ModelVersion
from services.client.names import id_of
from services.client.transport import Transport, path_to
from services.client.uploads import ZIP_MEDIA_TYPE, FileBody, OnBytes
from services.client.waiting import Patience, wait_until_over

Id = UUID | str


class ModelVersions:
    """Weights that may contour."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def promote(
        self, run_id: Id, *, name: str | None = None, terms: Json | None = None
    ) -> ModelVersion:
        """Make a model version of a run's weights; a worker checks it before it may serve.

        Args:
            run_id: a run that succeeded.
            name: made of network, loss and run where none is given.
            terms: `minimum`, `evaluation_cases`, `margin` and `notes` as the service takes them.
        """
        body = {"run_id": str(run_id), "name": name, **(terms or {})}
        return self._transport.post(path_to("model-versions"), ModelVersion, body)

    def list_all(self, *, state: str | None = None) -> Iterator[ModelVersion]:
        """Yield model versions, newest first."""
        return self._transport.pages(path_to("model-versions"), ModelVersion, {"state": state})

    def get(self, version_id: Id) -> ModelVersion:
        """Return a model version."""
        return self._transport.get(path_to("model-versions", version_id), ModelVersion)

    def find_id(self, name: str) -> UUID:
        """Return the id of the model version of a name, or of the one whose id stands there.

        Raises:
            NoSuchNameError: there is none.
        """
        return id_of("model version", name, self.list_all())

    def wait_for(
        self,
        version_id: Id,
        on_progress: Callable[[ModelVersion], None] | None = None,
        patience: Patience | None = None,
    ) -> ModelVersion:
        """Return a model version once its checks are over, in whatever way."""
        return wait_until_over(lambda: self.get(version_id), on_progress, patience)

    def retire(self, version_id: Id) -> ModelVersion:
        """Have a model version take no alias any more."""
        return self._transport.post(path_to("model-versions", version_id, "retire"), ModelVersion)

    def aliases(self) -> list[ModelAlias]:
        """Return what every alias means now."""
        return self._transport.get(path_to("model-aliases"), ModelAliases).items

    def set_alias(
        self, alias: str, version_id: Id | None, *, reason: str | None = None
    ) -> ModelAlias:
        """Have an alias mean another version; None is the packaged weights, or no shadow.

        What it replaces is read first: who changed the alias meanwhile is not overruled.

        Raises:
            ProblemError: alias_changed, or the version may not serve.
        """
        current = self._current(alias)
        wanted = None if version_id is None else str(version_id)
        body = {
            "model_version_id": wanted,
            "replaces": None if current is None else str(current),
            "reason": reason,
        }
        try:
            return self._transport.put(path_to("model-aliases", alias), ModelAlias, body)
        except ProblemError as error:
            # sent twice, because the first answer was lost: the second finds the work done
            if error.code != "alias_changed" or error.context.get("model_version_id") != wanted:
                raise
        return next(found for found in self.aliases() if found.alias == alias)

    def roll_back(self, alias: str, *, reason: str | None = None) -> ModelAlias:
        """Have an alias mean what it meant before."""
        path = path_to("model-aliases", alias, "rollback")
        return self._transport.post(path, ModelAlias, {"reason": reason})

    def export(self, version_id: Id, path: Path) -> Path:
        """Write a model version to a file that import_file() of any service takes."""
        return self._transport.download(path_to("model-versions", version_id, "export"), path)

    def import_file(
        self, path: Path, *, name: str | None = None, on_bytes: OnBytes | None = None
    ) -> ModelVersion:
        """Make a model version of an exported one; a worker checks it before it may serve."""
        return self._transport.upload(
            path_to("model-versions", "import"),
            ModelVersion,
            FileBody(path, ZIP_MEDIA_TYPE),
            params={"name": name},
            on_bytes=on_bytes,
        )

    def _current(self, alias: str) -> UUID | None:
        for found in self.aliases():
            if found.alias == alias:
                return found.model_version_id
        raise NoSuchNameError("model alias", alias)
