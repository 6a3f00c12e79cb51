"""The networks by name: what each sees, what it predicts, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from stedalign.imaging.sections import PLANES
from stedalign.networks.outputs import Outputs
from stedalign.networks.report import ReportNet
from stedalign.networks.section_network import SectionNetwork
from stedalign.optics.wavefront import ModeSet


@dataclass(frozen=True)
class Architecture:
    """One network of the registry."""

    planes: tuple[str, ...]
    """The sections that it sees."""
    outputs: Outputs
    """What it predicts; a training may ask for other modes."""
    module: Callable[[tuple[str, ...], int, int], SectionNetwork] = ReportNet
    """(planes, outputs, samples along an axis) to a fresh module."""


XY = ("xy",)
ELEVEN, TWELVE = ModeSet.default(), ModeSet.report12()

# The report's nine. A number in a name counts the outputs, "multi" says three sections, "offset" the mask offset.
NETWORKS: Mapping[str, Architecture] = {
    "net12": Architecture(XY, Outputs(TWELVE)),
    "multinet12": Architecture(PLANES, Outputs(TWELVE)),
    "multioffsetnet14": Architecture(PLANES, Outputs(TWELVE, mask_offset=True)),
    "net11": Architecture(XY, Outputs(ELEVEN)),
    "offsetnet13": Architecture(XY, Outputs(ELEVEN, mask_offset=True)),
    "multinet11": Architecture(PLANES, Outputs(ELEVEN)),
    "multioffsetnet13": Architecture(PLANES, Outputs(ELEVEN, mask_offset=True)),
    "offsetnet2": Architecture(XY, Outputs(None, mask_offset=True)),
    "multinetcat11": Architecture(PLANES, Outputs(ELEVEN), partial(ReportNet, apart=True)),
}


def architecture(name: str) -> Architecture:
    """The entry of the network ``name``. Raises ``ValueError`` for an unknown one."""
    if name not in NETWORKS:
        raise ValueError(f'there is no network "{name}"; known: {", ".join(NETWORKS)}')
    return NETWORKS[name]


def build(name: str, outputs: int, samples: int) -> SectionNetwork:
    """A fresh network with so many ``outputs`` for sections of ``samples`` along each axis.

    Raises ``ValueError`` for an unknown name or for sections that do not fit the network.
    """
    entry = architecture(name)
    return entry.module(entry.planes, outputs, samples)
