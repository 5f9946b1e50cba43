from importlib.metadata import version

from services.core.version import software_version


def test_the_installed_version_is_told() -> None:
    assert software_version() == version("cervicontour")
