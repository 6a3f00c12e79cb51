"""Lightning without its advertisements, and without the warnings that do not concern our users."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = "lightning.pytorch", "lightning.fabric"


@contextmanager
def quiet() -> Iterator[None]:
    """Let Lightning log errors alone while the block runs."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Lightning's own use of an old torch call (Lightning 2.6 with torch 2.13).
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            # A resumed run keeps its folder; whether that is allowed is decided in ``run``.
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
            # A checkpoint that goes on elsewhere: the best epoch is then looked for among the new ones.
            warnings.filterwarnings("ignore", message="The dirpath has changed from")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
