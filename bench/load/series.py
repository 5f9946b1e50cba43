"""CT series to send: as many as wanted, each new to every receiver, made in no time."""

import io
import itertools
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydicom.uid import UID

from tests.factories.uploads import BOUNDARY, encode, make_form, make_slice

TOKEN = b"100000000000"
"""Digits in every UID of the templates, which every series replaces by its own."""
NOISE_HU = 20
"""Of the made pixels: they deflate about as a CT does."""


@dataclass(frozen=True)
class SeriesBytes:
    """One series as files, and as the bodies in which it may be sent."""

    files: dict[str, bytes]

    @property
    def byte_count(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    @cached_property
    def form(self) -> bytes:
        """As multipart/form-data; see FORM."""
        return make_form(self.files)

    @cached_property
    def stored_zip(self) -> bytes:
        """As a zip that is not deflated."""
        return _zip(self.files, zipfile.ZIP_STORED)

    @cached_property
    def deflated_zip(self) -> bytes:
        """As a zip such as most tools make."""
        return _zip(self.files, zipfile.ZIP_DEFLATED)


class SeriesMaker:
    """Makes series of one size; the UIDs of no two are the same, pixels are."""

    def __init__(self, slices: int, size: int) -> None:
        self._templates = [
            _template(number, size, _pixels(number, size)) for number in range(1, slices + 1)
        ]
        # from the clock, so that no run repeats another's
        self._numbers: Iterator[int] = itertools.count(10**11 + time.time_ns() // 10**4 % 10**11)

    def make(self) -> SeriesBytes:
        """Return a series nobody has seen."""
        token = f"{next(self._numbers):012d}".encode()
        return SeriesBytes(
            {
                f"IM{number:05d}.dcm": template.replace(TOKEN, token)
                for number, template in enumerate(self._templates, start=1)
            }
        )


def write_form(path: Path, slices: int, size: int) -> None:
    """Write a series as multipart/form-data into a file, never whole in memory."""
    pixels = _pixels(1, size)
    token = f"{10**11 + time.time_ns() // 10**4 % 10**11:012d}".encode()
    end = f"--{BOUNDARY}--\r\n".encode()
    with path.open("wb") as file:
        for number in range(1, slices + 1):
            content = _template(number, size, pixels).replace(TOKEN, token)
            file.write(make_form({f"IM{number:05d}.dcm": content}).removesuffix(end))
        file.write(end)


def _pixels(number: int, size: int) -> bytes:
    noise = np.random.default_rng(number).normal(0, NOISE_HU, (size, size))
    return noise.astype(np.int16).tobytes()


def _template(number: int, size: int, pixels: bytes) -> bytes:
    dataset = make_slice(number, 1)
    dataset.Rows = dataset.Columns = size
    root = f"2.25.{TOKEN.decode()}"
    dataset.StudyInstanceUID = root
    dataset.SeriesInstanceUID = f"{root}.1"
    dataset.FrameOfReferenceUID = f"{root}.2"
    dataset.SOPInstanceUID = UID(f"{root}.1.{number}")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyDate = "20260101"
    dataset.StudyTime = "120000"
    dataset.StudyID = "1"
    dataset.SeriesNumber = 1
    dataset.AccessionNumber = ""
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "F"
    dataset.PixelData = pixels
    return encode(dataset)


def _zip(files: dict[str, bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
