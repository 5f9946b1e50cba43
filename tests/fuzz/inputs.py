"""Whole requests made from one seed: which files, what is wrong with them, how they are packed."""

import copy
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

import numpy as np
from pydicom import dcmread, uid

from tests.factories import ct
from tests.factories.reviews import write_edit
from tests.factories.uploads import BOUNDARY, FORM, make_form
from tests.fuzz.elements import File, size_of, tree_of
from tests.fuzz.mutations import BYTE_MUTATIONS, TREE_MUTATIONS

SPEC = ct.CtSpec(slices=3, rows=32, columns=32)
ZIP = "application/zip"
DICOM = "application/dicom"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
NAMES = (
    "IM1", "a/b/c.dcm", "ct.zip", "DICOMDIR", "x" * 3000, "\x1b[31m.dcm", "=1+1.dcm", "\u202egpj.dcm",
    "__MACOSX/._x", "no\nline.dcm", "<b>.dcm", "c\u0327\u0301.dcm", "..dcm", "a//b.dcm", "1.2.840.1", " .dcm",
)  # fmt: skip
SYNTAXES = (
    uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless,
    uid.JPEGLosslessSV1,
)  # fmt: skip


MAX_TREE_BYTES = 2 << 20


class Target(StrEnum):
    """A route that takes files."""

    SERIES = "series"
    AUTOCONTOUR = "autocontour"
    EDITED_RTSTRUCT = "edited-rtstruct"
    DATASET_CASES = "dataset-cases"


_WEIGHTS = {
    Target.SERIES: 50, Target.AUTOCONTOUR: 10, Target.EDITED_RTSTRUCT: 25, Target.DATASET_CASES: 15,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One request that can be made again from its seed and number."""

    number: int
    target: Target
    content_type: str
    body: bytes
    mutations: tuple[str, ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class Samples:
    """Whole files to start from, made once: a CT in every encoding, and its structure set."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            self.images = {
                str(syntax): _series(folder / f"ct{number}", syntax)
                for number, syntax in enumerate(SYNTAXES)
            }
            mask = np.zeros((SPEC.slices, SPEC.rows, SPEC.columns), np.bool_)
            mask[:, 8:20, 9:23] = True
            hole = mask.copy()
            hole[1, 12:15, 12:15] = False
            write_edit(folder / "rs.dcm", folder / "ct0", {"Bladder": mask, "Rectum": hole})
            self.structures = (folder / "rs.dcm").read_bytes()
        self._trees = {
            "ct": [_tree(content) for content in self.images[str(SYNTAXES[0])]],
            "rs": [_tree(self.structures)],
        }

    def trees(self, kind: str) -> list[File]:
        """Return fresh trees: of the images, or of the structure set."""
        return copy.deepcopy(self._trees[kind])


def make_input(samples: Samples, seed: int, number: int) -> Input:
    """Make the same input for the same seed and number."""
    draw = Random(f"{seed}:{number}")
    target = draw.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
    notes: list[str] = []
    if target is Target.EDITED_RTSTRUCT:
        (content,) = _mutated(samples, "rs", draw, notes)
        if draw.random() < 0.9:
            return _input(number, target, DICOM, content, notes)
        return _input(number, target, FORM, make_form({"rs.dcm": content}), notes)
    images, structures = list(samples.images[str(SYNTAXES[0])]), [samples.structures]
    if target is not Target.DATASET_CASES:
        images, structures = _mutated(samples, "ct", draw, notes), []
    elif draw.random() < 0.5:
        images = _mutated(samples, "ct", draw, notes)
    else:
        structures = _mutated(samples, "rs", draw, notes)
    files = _named([*images, *structures], draw)
    content_type, body = _packed(files, draw, notes)
    return _input(number, target, content_type, body, notes)


def _input(number: int, target: Target, kind: str, body: bytes, notes: list[str]) -> Input:
    return Input(number=number, target=target, content_type=kind, body=body, mutations=tuple(notes))


def _mutated(samples: Samples, kind: str, draw: Random, notes: list[str]) -> list[bytes]:
    """Return the files of a kind, mutated by element or by byte, one of them or all alike."""
    how_many = draw.choice((1, 1, 1, 2, 4))
    by_element = draw.random() < 0.6
    alike, victim = draw.random() < 0.3, draw.randrange(SPEC.slices)
    start = draw.getrandbits(64)
    if by_element:
        trees = samples.trees(kind)
        mutations = [draw.choice(TREE_MUTATIONS) for _ in range(how_many)]
        for number, tree in enumerate(trees):
            if len(trees) == 1 or alike or number == victim:
                again = Random(start)
                for mutate in mutations:
                    mutate(tree, again)
                    if size_of(tree.elements) > MAX_TREE_BYTES:  # several that multiply
                        del tree.elements[3:]
        contents = [tree.encode() for tree in trees]
    else:
        syntax = str(draw.choice(SYNTAXES))
        contents = list(samples.images[syntax]) if kind == "ct" else [samples.structures]
        mutations = [draw.choice(BYTE_MUTATIONS) for _ in range(how_many)]
        notes.append(syntax)
        for number in range(len(contents)):
            if len(contents) == 1 or alike or number == victim:
                contents[number] = _changed(contents[number], mutations, Random(start))
    notes += [mutation.__name__ for mutation in mutations]
    return contents


def _changed(
    content: bytes, mutations: list[Callable[[bytes, Random], bytes]], draw: Random
) -> bytes:
    for mutate in mutations:
        if content:
            content = mutate(content, draw)
    return content


def _named(contents: list[bytes], draw: Random) -> dict[str, bytes]:
    names = [f"CT{number}.dcm" for number in range(len(contents))]
    if draw.random() < 0.3:
        names[draw.randrange(len(names))] = draw.choice(NAMES)
    return dict(zip(names, contents, strict=True))


def _packed(files: dict[str, bytes], draw: Random, notes: list[str]) -> tuple[str, bytes]:
    choice = draw.random()
    if choice < 0.5:
        kind, body = FORM, make_form(files)
        if draw.random() < 0.2:
            kind = RELATED
    else:
        buffer = io.BytesIO()
        method = zipfile.ZIP_DEFLATED if choice < 0.8 else zipfile.ZIP_STORED
        with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name), content, method)
        kind, body = ZIP, buffer.getvalue()
    if draw.random() < 0.1:
        mutation = draw.choice(BYTE_MUTATIONS)
        notes.append(f"container: {mutation.__name__}")
        body = mutation(body, draw)
    return kind, body


def _series(folder: Path, syntax: str) -> list[bytes]:
    spec = ct.CtSpec(slices=3, rows=32, columns=32, transfer_syntax_uid=syntax)
    return [path.read_bytes() for path in ct.write_ct(folder, spec)]


def _tree(content: bytes) -> File:
    dataset = dcmread(io.BytesIO(content))
    return File(
        syntax=b"1.2.840.10008.1.2.1\0",
        sop_class=str(dataset.SOPClassUID).encode(),
        elements=tree_of(dataset),
    )
