"""One text for numpy and torch: formulas of the optics that are evaluated once, and inside gradients."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = TypeVar("Array", NDArray[np.float64], Tensor)


def namespace(*values: Any) -> Any:
    """``torch`` where one of the values is a tensor, else ``numpy``; both name their functions alike."""
    return torch if any(isinstance(value, Tensor) for value in values) else np
