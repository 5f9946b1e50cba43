"""Bytes as senders post them: small CT slices, zips and multipart bodies."""

import io
import zipfile
from collections.abc import Callable, Mapping

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

Change = Callable[[Dataset], None]
BOUNDARY = "----a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
SERIES_UID = "1.2.826.0.1.3680043.8.498.2"
SIZE = 16
PATIENT_NAME = "DOE^JANE"
PATIENT_ID = "MRN-ZQX-4711"
"""Long enough that no time, number or digest holds it by chance."""


def slice_uid(number: int) -> UID:
    return UID(f"{SERIES_UID}.{number}")


def make_slice(number: int, size: int = SIZE) -> Dataset:
    """A CT slice 3 mm above the one before, with the little that a usable series needs."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = slice_uid(number)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = slice_uid(number)
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.SeriesInstanceUID = SERIES_UID
    dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.3"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName = PATIENT_NAME
    dataset.PatientID = PATIENT_ID
    dataset.PatientPosition = "HFS"
    dataset.ImagePositionPatient = [-8, -8, 3 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    dataset.SliceThickness = 3
    dataset.InstanceNumber = number
    dataset.Rows = dataset.Columns = size
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope = 1
    dataset.RescaleIntercept = 0
    noise = np.random.default_rng(number).integers(-1000, 1000, (size, size), np.int16)
    dataset.PixelData = noise.tobytes()
    return dataset


def encode(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def make_series(
    count: int = 3, *, every: Change | None = None, changes: Mapping[int, Change] | None = None
) -> dict[str, bytes]:
    """File name to bytes of a series; slices are numbered from 1 and may be spoilt."""
    files: dict[str, bytes] = {}
    for number in range(1, count + 1):
        dataset = make_slice(number)
        for change in (every, (changes or {}).get(number)):
            if change is not None:
                change(dataset)
        files[f"IM{number:04d}"] = encode(dataset)
    return files


def make_zip(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def make_form(files: Mapping[str, bytes]) -> bytes:
    """A multipart/form-data body as curl writes it."""
    body = bytearray()
    for name, content in files.items():
        body += f"--{BOUNDARY}\r\n".encode()
        body += f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'.encode()
        body += b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n"
    return bytes(body + f"--{BOUNDARY}--\r\n".encode())
