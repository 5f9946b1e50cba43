"""Which release of the software is running."""

from importlib.metadata import version


def software_version() -> str:
    """Return the installed package's version, as written into every RTSTRUCT and job row."""
    return version("cervicontour")
