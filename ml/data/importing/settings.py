"""What a researcher decides about an import."""

import hashlib
from dataclasses import dataclass, field

from ml.name_map import NameMap
from ml.pseudonyms import Pseudonyms

IMPORT_VERSION = 1
"""Changes whenever the same files and settings give another case: cases are then read again."""

OVERLAP_LIMIT = 0.05
"""Largest share of the smaller structure in an overlap that a border explains. Two outlines that
cross by a pixel along a quarter of an organ of 25 mm radius share 3 % of it; more means that one
structure was drawn into the other, and which of the two is meant cannot be guessed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportSettings:
    """How cases are read."""

    pseudonyms: Pseudonyms
    names: NameMap = field(default_factory=NameMap)
    overlap_limit: float | None = OVERLAP_LIMIT
    """Share of the smaller structure; None accepts any overlap."""
    allows_missing: bool = False
    """Accept cases without some of the structures, or with empty ones."""
    allows_orphans: bool = False
    """Place contours by their planes although they refer to other images."""

    def fingerprint(self) -> str:
        """Hash everything but the key that changes what a case becomes."""
        kept = (
            IMPORT_VERSION,
            self.names,
            self.overlap_limit,
            self.allows_missing,
            self.allows_orphans,
            self.pseudonyms.keeps_ids,
        )
        return hashlib.sha256(repr(kept).encode()).hexdigest()
