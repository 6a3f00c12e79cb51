"""The networks by name: what each sees, what it predicts, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points

from stedalign.errors import InputError
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import PLANES
from stedalign.networks.alexnet import AlexNet
from stedalign.networks.band_net import BandNet
from stedalign.networks.image_network import ImageNetwork
from stedalign.networks.outputs import Outputs
from stedalign.networks.stack_nets import SequenceNet, VolumeNet
from stedalign.optics.wavefront import ModeSet


@dataclass(frozen=True)
class Architecture:
    """One network of the registry."""

    planes: tuple[str, ...]
    """The sections that it sees; none where it sees a z-stack."""
    outputs: Outputs
    """What it predicts; a training may ask for other modes."""
    module: Callable[[tuple[str, ...], Outputs, ForwardSpec], ImageNetwork] = AlexNet
    """(planes, outputs, optics and sampling) to a fresh module."""
    half: bool = False
    """Whether its weights are kept on disk as numbers of 16 bits, which loses nothing that it knows."""

    @property
    def sees_stacks(self) -> bool:
        return not self.planes


XY = ("xy",)
ELEVEN, TWELVE = ModeSet.default(), ModeSet.report12()

ORIGIN: Mapping[str, Architecture] = {
    "net12": Architecture(XY, Outputs(TWELVE)),
    "multinet12": Architecture(PLANES, Outputs(TWELVE)),
    "multioffsetnet14": Architecture(PLANES, Outputs(TWELVE, mask_offset=True)),
    "net11": Architecture(XY, Outputs(ELEVEN)),
    "offsetnet13": Architecture(XY, Outputs(ELEVEN, mask_offset=True)),
    "multinet11": Architecture(PLANES, Outputs(ELEVEN)),
    "multioffsetnet13": Architecture(PLANES, Outputs(ELEVEN, mask_offset=True)),
    "offsetnet2": Architecture(XY, Outputs(None, mask_offset=True)),
    "multinetcat11": Architecture(PLANES, Outputs(ELEVEN), partial(AlexNet, separate_stems=True)),
}
"""The origin's nine. A number in a name counts the outputs, "multi" says three sections, "offset" the mask offset."""
EVERYTHING = Outputs(ELEVEN, mask_offset=True, shift=True, sigma=True)
NETWORKS: Mapping[str, Architecture] = {
    **ORIGIN,
    # Our own.
    "bandnet": Architecture(PLANES, EVERYTHING, BandNet, half=True),
    # The origin's outlook: a whole z-stack instead of sections.
    "volumenet": Architecture((), EVERYTHING, VolumeNet),
    "sequencenet": Architecture((), EVERYTHING, SequenceNet),
}


GROUP = "stedalign.networks"
"""The entry points by which installed packages offer networks."""


def architecture(name: str) -> Architecture:
    """The network ``name``: one of these, one that a package offers, or ``package.module:NAME`` of the user's own.

    Raises ``InputError`` where there is none.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    offered = {entry.name: entry.value for entry in entry_points(group=GROUP)}
    module, colon, attribute = offered.get(name, name).partition(":")
    if not colon:
        known = ", ".join([*NETWORKS, *offered])
        raise InputError(f'there is no network "{name}"; known: {known}, or package.module:NAME')
    try:
        entry = getattr(import_module(module), attribute)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f'the network "{name}" cannot be loaded: {reason}') from error
    if not isinstance(entry, Architecture):
        raise InputError(f'the network "{name}" is no stedalign.networks.registry.Architecture')
    return entry


def build(name: str, outputs: Outputs, forward: ForwardSpec) -> ImageNetwork:
    """A fresh network for ``outputs`` of images of ``forward``.

    Raises ``InputError`` for an unknown name or for sections that do not fit the network.
    """
    entry = architecture(name)
    return entry.module(entry.planes, outputs, forward)
