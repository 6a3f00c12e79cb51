import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

mpl.use("Agg")
# Small matrices: a second thread costs more than it brings, the more so beside another job.
torch.set_num_threads(1)
# The processes that run the tests side by side start with this environment.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Shared machines stall now and then; a deadline would test the neighbors.
settings.register_profile("stedalign", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("stedalign")

# The slow references and stand-ins that tests share are modules beside the tests.
sys.path.insert(0, str(Path(__file__).parent / "support"))
# Array shapes are types: what these packages take and return is checked, from their first import on.
install_import_hook(["stedalign.focusing", "stedalign.imaging", "stedalign.estimation"], "checked_types.checked")
pytest.register_assert_rewrite("command_line")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Callable[[], int]]:
    """Let the disk take so many more whole files and then be full; tells how many were written meanwhile."""

    def fill(files: int) -> Callable[[], int]:
        written = 0

        def sync(handle: int) -> None:
            nonlocal written
            if written >= files:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += 1

        monkeypatch.setattr("stedalign.files.os.fsync", sync)
        return lambda: written

    return fill
