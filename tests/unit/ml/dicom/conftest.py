import pytest
from pydicom import config


@pytest.fixture(autouse=True)
def strict_writing(monkeypatch):
    """Make pydicom refuse to write what DICOM does not allow."""
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.RAISE)
