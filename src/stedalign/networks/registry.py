"""The networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from stedalign.imaging.sections import PLANES
from stedalign.networks.report import ReportNet

Builder = Callable[[int, int], nn.Module]
"""(outputs, samples along an axis) to a module that maps (B, 3, N, N) to (B, outputs) in peak waves."""

NETWORKS: Mapping[str, Builder] = {"multinet11": partial(ReportNet, len(PLANES))}


def build(name: str, outputs: int, samples: int) -> nn.Module:
    """A fresh network with ``outputs`` coefficients for sections of ``samples`` along each axis.

    Raises ``ValueError`` for an unknown name or for sections that do not fit the network.
    """
    if name not in NETWORKS:
        raise ValueError(f'there is no network "{name}"; known: {", ".join(NETWORKS)}')
    return NETWORKS[name](outputs, samples)


def set_input_statistics(module: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Tell a network the mean and standard deviation (channels,) of its normalized training pictures."""
    module.get_buffer("mean").copy_(mean[:, None, None])
    module.get_buffer("std").copy_(std[:, None, None])
