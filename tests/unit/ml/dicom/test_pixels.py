import pytest

from ml.dicom.errors import DicomError, DicomErrorCode
from ml.dicom.files import SkipReason, SourceFile
from ml.dicom.header import read_header
from ml.dicom.pixels import read_hu
from tests.factories import ct, ct_defects


@pytest.mark.parametrize("defect", ["pixels missing", "cut in the pixels"])
def test_an_image_that_was_not_checked_is_refused_too(tmp_path, defect):
    ct_defects.DEFECTS[defect].make(tmp_path)
    refused = []
    for path in sorted(tmp_path.iterdir()):
        header = read_header(SourceFile(path=path, name=path.name))
        assert not isinstance(header, SkipReason)
        try:
            read_hu(header)
        except DicomError as error:
            refused.append((header.sop_instance_uid, error.code))
    assert refused == [(ct.slice_uid(ct.CtSpec(), 2), DicomErrorCode.PIXELS_TRUNCATED)]
