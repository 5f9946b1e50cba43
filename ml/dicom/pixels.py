"""From the stored pixels of one image to Hounsfield units."""

import warnings
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.pixels.decoders.base import get_decoder

from ml.arrays import HuSlice
from ml.dicom.codestream import find_codestream_size, first_fragment
from ml.dicom.encoding import JPEG_SYNTAXES, NATIVE_SYNTAXES, PARSE_ERRORS, open_dataset
from ml.dicom.errors import DicomErrorCode
from ml.dicom.header import ImageHeader
from ml.dicom.image_rules import refusal

_HU_RANGE = np.iinfo(np.int16)
_DECODE_ERRORS = (*PARSE_ERRORS, RuntimeError, UserWarning)
"""Decoder plug-ins' own errors arrive as RuntimeError."""


def read_hu(header: ImageHeader) -> HuSlice:
    """Return the Hounsfield units of a checked image, rows and columns as stored.

    Raises:
        DicomError: pixels that cannot be decoded, or values beyond int16.
    """
    stored = _stored_pixels(header)
    unused_bits = 16 - header.pixel_format.bits_stored
    values = (stored << unused_bits) >> unused_bits  # old images keep overlays in the unused bits
    slope, intercept = header.rescale_slope or 0.0, header.rescale_intercept or 0.0
    hu = np.rint(values * np.float64(slope) + intercept)
    if hu.min() >= _HU_RANGE.min and hu.max() <= _HU_RANGE.max:
        return hu.astype(np.int16)
    beyond = (hu < _HU_RANGE.min) | (hu > _HU_RANGE.max)
    if np.any(beyond & (stored != header.pixel_format.padding)):
        raise refusal(
            DicomErrorCode.INVALID_VALUE,
            "Hounsfield units beyond 16 bits",
            [header],
            {"smallest_hu": float(hu.min()), "largest_hu": float(hu.max())},
        )
    # Only pixels outside the reconstructed circle, which have no Hounsfield unit at all.
    return np.clip(hu, _HU_RANGE.min, _HU_RANGE.max).astype(np.int16)


def _stored_pixels(header: ImageHeader) -> NDArray[np.integer]:
    extent = header.pixels
    if extent is None or extent.length is None:
        raise refusal(DicomErrorCode.PIXELS_TRUNCATED, "pixel data ends too early", [header])
    stream, _ = open_dataset(header.source.path)
    with closing(stream):
        stream.seek(extent.offset)
        value = stream.read(extent.length)
    if header.transfer_syntax_uid in NATIVE_SYNTAXES:
        order = ">" if header.transfer_syntax_uid == uid.ExplicitVRBigEndian else "<"
        kind = "i2" if header.pixel_format.is_signed else "u2"
        native = np.frombuffer(value, order + kind).reshape(header.rows, header.columns)
        return native.astype(native.dtype.newbyteorder("="))
    return _decode(header, value)


def _decode(header: ImageHeader, value: bytes) -> NDArray[np.integer]:
    decoder = get_decoder(uid.UID(header.transfer_syntax_uid))
    if not decoder.is_available:
        raise refusal(
            DicomErrorCode.TRANSFER_SYNTAX_UNSUPPORTED, "no decoder is installed", [header]
        )
    pixels = header.pixel_format
    options: dict[str, Any] = {  # Any: the decoder declares each option as a dict of all of them
        "rows": header.rows,
        "columns": header.columns,
        "samples_per_pixel": pixels.samples_per_pixel,
        "photometric_interpretation": pixels.photometric_interpretation,
        "bits_allocated": pixels.bits_allocated,
        "bits_stored": pixels.bits_stored,
        "pixel_representation": int(pixels.is_signed),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    try:
        if header.transfer_syntax_uid in JPEG_SYNTAXES:
            _check_codestream(header, value)
        with warnings.catch_warnings():
            # pydicom only warns where an RLE segment is longer than the image
            warnings.filterwarnings("error", message=".*non-conformant padding")
            array, _ = decoder.as_array(value, **options)
    except _DECODE_ERRORS as error:
        raise refusal(
            DicomErrorCode.PIXELS_TRUNCATED, "pixel data is damaged: it cannot be decoded", [header]
        ) from error
    return array


def _check_codestream(header: ImageHeader, value: bytes) -> None:
    size = find_codestream_size(first_fragment(value))
    expected = (header.rows, header.columns, header.pixel_format.samples_per_pixel)
    if size is None or (size.rows, size.columns, size.components) != expected:
        raise ValueError("the codestream holds another image than its header says")
    if not 8 < size.precision <= 16:
        raise ValueError(f"{size.precision} bits in a sample do not fill two bytes")
