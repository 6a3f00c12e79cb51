"""Where a result comes from: versions, platform and the state of the source tree."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("stedalign", "torch", "numpy", "scipy", "lightning")


def environment() -> dict[str, Any]:
    """What a result depends on besides its configuration; fits JSON."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": source_commit(),
    }


def source_commit() -> str | None:
    """Commit of the source tree this package runs from, with "-dirty" where it was changed.

    None for an installed package, also where it was installed into some other project's work tree.
    """
    here = Path(__file__).parent
    try:
        subprocess.run(["git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name],
                       capture_output=True, timeout=10, check=True)  # fmt: skip
        answer = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
