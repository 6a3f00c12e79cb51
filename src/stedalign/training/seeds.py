"""One seed of a run to independent seeds of everything in it that is random."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What is drawn."""

    WEIGHTS = 0
    TRAINING = 1
    VALIDATION = 2
    TEST = 3
    STATISTICS = 4
    DROPOUT = 5


def stream_seed(seed: int, stream: Stream, epoch: int = 0) -> int:
    """A seed below 2^62 for one stream in one epoch of the run with the seed ``seed``."""
    words = np.random.SeedSequence([seed, stream, epoch]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(2))
