"""Asks for known vulnerabilities: `python -m scripts.audit PIP_AUDIT LOCK...`.

pip-audit sends names and versions of what is locked to a database on the internet. Without one this
fails, and says so: silence would look like safety. Nothing at run time depends on it.
"""

import subprocess
import sys

OFFLINE_SIGNS = ("ConnectionError", "NameResolution", "Failed to establish", "Max retries", "403")
"""What pip-audit's traceback or message has in it when the database cannot be reached."""

EXPLANATION = """
The database of vulnerabilities was not reached, so nothing is known about any package.
Run `make audit` where there is internet, or carry the bills of `make sbom` to a scanner there:
they name every package, version and file hash of both images.
"""


def main(tool: str, locks: list[str]) -> int:
    """Audit every lock; return how pip-audit ended, 2 when it could not ask."""
    worst = 0
    for lock in locks:
        print(f"auditing {lock}")
        done = subprocess.run(
            [tool, "--requirement", lock, "--require-hashes", "--disable-pip", "--no-deps",
             "--progress-spinner", "off"],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode and any(sign in said for sign in OFFLINE_SIGNS):
            sys.stderr.write(EXPLANATION)
            return 2
        print(said.strip())
        worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
