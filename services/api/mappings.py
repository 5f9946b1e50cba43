"""Mappings of region names to structures, as requests bring them."""

from typing import Annotated, Any

from pydantic import Field

from ml.name_map import MappingError, parse_mapping
from services.core.errors import ServiceError

Json = dict[str, Any]  # Any: nested json values

MappingBody = Annotated[
    Json,
    Field(
        description="Names of regions that mean a structure, in order of preference, before the "
        "common names do; /.../ is a pattern. `ignore`: regions that are no candidates. "
        "`patient_pattern`: its group is the patient in a case's path, below the mounted folder or "
        "in the archive that was sent. `labels`: values of NIfTI label maps.",
        examples=[{"structures": {"Bladder": ["Blase", "/bladder.*/"]}, "ignore": ["PTV"]}],
    ),
]


class MappingInvalidError(ServiceError):
    """A mapping of names cannot be used."""

    code = "mapping_invalid"


def checked_mapping(values: Json) -> Json:
    """Return a mapping as it is kept: every setting, structures under their own names.

    Raises:
        MappingInvalidError: it cannot be used; the message says why.
    """
    try:
        return parse_mapping(values).to_dict()
    except MappingError as error:
        raise MappingInvalidError(str(error)) from error
