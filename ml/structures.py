"""The regions the service contours: names, numbers, colours and the rules that belong to each."""

import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class InterpretedType(StrEnum):
    """RT ROI Interpreted Type, PS3.3 C.8.8.8: what a planning system takes a region for."""

    CTV = "CTV"
    ORGAN = "ORGAN"


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """A named region."""

    name: str
    """ROI Name as written into an RTSTRUCT."""
    number: int
    """Label value in arrays and ROI Number in an RTSTRUCT; 0 is background."""
    color_rgb: tuple[int, int, int]
    """ROI Display Color."""
    interpreted_type: InterpretedType
    priority: int
    """Where two regions meet, the lower number keeps the voxel."""
    max_components: int
    """Connected parts (26-neighbourhood) that are kept, largest first."""
    min_component_ml: float
    """A further part smaller than this is dropped; the largest part always stays."""
    max_hole_mm2: float
    """Background enclosed within a slice is filled up to this area; CTV-N may ring an organ."""
    plausible_volume_ml: tuple[float, float]
    """Outside these limits a job carries a QA warning; wide limits of published cohorts."""
    synonyms: tuple[str, ...]
    """Further names under which other systems write the region."""


class UnknownStructureError(LookupError):
    """No structure of the set goes by the name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no structure of this set is called {name!r}")
        self.name = name


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureSet:
    """Structures contoured together; label values count from 1 without a gap.

    Raises:
        ValueError: numbers, names or synonyms that are not unique.
    """

    name: str
    structures: tuple[Structure, ...]

    def __post_init__(self) -> None:
        """Check that every label value and every name means one structure."""
        if [s.number for s in self.structures] != list(range(1, len(self.structures) + 1)):
            raise ValueError("structure numbers must count from 1 in order")
        keys = [key for s in self.structures for key in _keys(s)]
        if len(set(keys)) != len(keys):
            raise ValueError("two structures share a name")

    @property
    def class_count(self) -> int:
        """Label values, background included."""
        return len(self.structures) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the label values."""
        return tuple(s.name for s in self.structures)

    def get(self, name: str) -> Structure:
        """Return the structure of that name or synonym.

        Raises:
            UnknownStructureError: nothing goes by the name.
        """
        found = self.find(name)
        if found is None:
            raise UnknownStructureError(name)
        return found

    def find(self, name: str) -> Structure | None:
        """Return the structure of that name or synonym, ignoring case and punctuation."""
        key = normalized_name(name)
        return next((s for s in self.structures if key in _keys(s)), None)


def _keys(structure: Structure) -> set[str]:
    return {normalized_name(name) for name in (structure.name, *structure.synonyms)}


def normalized_name(name: str) -> str:
    """Return a name without case, punctuation and blanks: what counts when names are compared."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in folded if c.isalnum())


CERVIX = StructureSet(
    name="cervix",
    structures=(
        Structure(
            name="CTV-N",
            number=1,
            color_rgb=(255, 170, 0),
            interpreted_type=InterpretedType.CTV,
            priority=4,
            max_components=4,
            min_component_ml=2.0,
            max_hole_mm2=200.0,
            plausible_volume_ml=(100.0, 1000.0),
            synonyms=("CTVn", "CTV_N", "CTV nodal", "CTV nodes", "CTV LN", "LN", "CTVn_Pelvis"),
        ),
        Structure(
            name="CTV-UV",
            number=2,
            color_rgb=(255, 0, 0),
            interpreted_type=InterpretedType.CTV,
            priority=3,
            max_components=1,
            min_component_ml=2.0,
            max_hole_mm2=2000.0,
            plausible_volume_ml=(30.0, 600.0),
            synonyms=("CTV_UV", "CTVuv", "CTV-T", "CTVt", "CTV uterus", "CTV primary"),
        ),
        Structure(
            name="Bladder",
            number=3,
            color_rgb=(255, 255, 0),
            interpreted_type=InterpretedType.ORGAN,
            priority=1,
            max_components=1,
            min_component_ml=2.0,
            max_hole_mm2=2000.0,
            plausible_volume_ml=(20.0, 1000.0),
            synonyms=("Urinary bladder", "Bladder_O", "Vesica", "Blase", "Harnblase"),
        ),
        Structure(
            name="Rectum",
            number=4,
            color_rgb=(139, 69, 19),
            interpreted_type=InterpretedType.ORGAN,
            priority=2,
            max_components=1,
            min_component_ml=2.0,
            max_hole_mm2=2000.0,
            plausible_volume_ml=(10.0, 250.0),
            synonyms=("Rectum_O", "Rektum", "Rectum contoured"),
        ),
    ),
)
"""The four structures of the paper, numbered as in its label maps (science: classes 1 to 4)."""

_SETS = {CERVIX.name: CERVIX}


def structure_set(name: str) -> StructureSet:
    """Return the structures a run configuration names.

    Raises:
        UnknownStructureError: no set goes by the name.
    """
    if name not in _SETS:
        raise UnknownStructureError(name)
    return _SETS[name]
