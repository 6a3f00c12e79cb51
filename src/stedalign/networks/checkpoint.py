"""Weights on disk: safetensors that know their optics, sampling, modes and unit, and refuse any other.

Nothing is ever unpickled, and a checksum over weights and metadata catches a damaged or edited file. A network that is
none of ours is found by its name: its code comes from Python's path, never from the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from stedalign.errors import InputError
from stedalign.files import replacing
from stedalign.imaging.forward_spec import ForwardSpec, optics_disagreement
from stedalign.networks.network import Network
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import architecture, build
from stedalign.optics.wavefront import LABEL_UNIT, ModeSet

FORMAT = "stedalign-network-1"


class CheckpointError(InputError):
    """A file of weights that is damaged, foreign, or made for another microscope; the message is one line."""


@dataclass(frozen=True)
class WeightsRecord:
    """What a file of weights says about them: the network, what it predicts of which images, and its training."""

    network: str
    forward: ForwardSpec
    outputs: Outputs
    training: dict[str, Any] = field(default_factory=dict)
    """Configuration, seed, commit, epoch and figures of the training; must fit JSON."""

    def metadata(self) -> dict[str, str]:
        return {
            "format": FORMAT,
            "network": self.network,
            "modes": json.dumps(self.outputs.modes.pairs if self.outputs.modes is not None else []),
            "label_unit": LABEL_UNIT,
            "mask_offset": json.dumps(self.outputs.mask_offset),
            "shift": json.dumps(self.outputs.shift),
            "sigma": json.dumps(self.outputs.sigma),
            "setup_hash": self.forward.hash,
            "forward_spec": json.dumps(self.forward.model_dump()),
            "sampling": json.dumps(self.forward.sampling.model_dump()),
            "training": json.dumps(self.training),
        }


class OtherSetupError(CheckpointError):
    """Weights that are sound, but made for another microscope or other modes."""


def packaged_weights(name: str) -> Path:
    """The weights of the network ``name`` that came with the package, for the default setup.

    Raises ``CheckpointError`` when the package holds none.
    """
    path = Path(str(files("stedalign.networks") / "weights" / f"{name}.safetensors"))
    if not path.is_file():
        raise CheckpointError(f'the package holds no weights for the network "{name}"')
    return path


def save_network(path: Path, module: nn.Module, record: WeightsRecord) -> None:
    """Write the weights and buffers of ``module``, whole or not at all.

    Raises ``InputError`` for weights that numbers of 16 bits do not hold, where the network is kept in those.
    """
    half = architecture(record.network).half
    tensors = {
        name: (tensor.half() if half else tensor).detach().cpu().contiguous()
        for name, tensor in module.state_dict().items()
    }
    if half and not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise InputError(f"the weights of {record.network} are too large for numbers of 16 bits")
    metadata = record.metadata()
    metadata["sha256"] = _checksum(tensors, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        # Not save_file, which tells a full disk by an error of its own.
        temporary.write_bytes(save(tensors, metadata))


def load_network(path: Path, forward: ForwardSpec, modes: ModeSet | None) -> Network:
    """The network in ``path``, ready to estimate ``modes`` from images of ``forward``.

    ``modes`` None takes any, and none: ``Network.outputs`` then says which. Raises ``CheckpointError`` with one line
    when the file is missing, damaged or no checkpoint, or when it was trained for another optics, sampling or mode set;
    the line then names both values.
    """
    tensors, metadata = _read(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} has the format {metadata.get('format')}, this version reads {FORMAT}")
    if metadata.pop("sha256", None) != _checksum(tensors, metadata):
        raise CheckpointError(f"{path} is damaged or was edited: its checksum does not match")
    if metadata["label_unit"] != LABEL_UNIT:
        raise CheckpointError(f"weights give {metadata['label_unit']}, {LABEL_UNIT} are expected")
    outputs = _recorded_outputs(metadata)
    disagreement = optics_disagreement(json.loads(metadata["forward_spec"]), outputs.modes, forward, modes)
    if disagreement:
        raise OtherSetupError(f"weights were trained {disagreement}")
    try:
        module = build(metadata["network"], outputs, forward)
        module.load_state_dict(tensors)
    # torch raises its own error for weights of other names or shapes.
    except (InputError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit its network: {str(error).splitlines()[0]}") from None
    return Network(module, outputs, json.loads(metadata["training"]))


def _recorded_outputs(metadata: Mapping[str, str]) -> Outputs:
    pairs = json.loads(metadata["modes"])
    # Files of the first networks, which predicted less, are silent about the rest.
    others = {name: json.loads(metadata.get(name, "false")) for name in ("mask_offset", "shift", "sigma")}
    return Outputs(ModeSet.of(pairs) if pairs else None, **others)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no complete safetensors file: {error}") from None


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Over the metadata and over name, type, shape and bytes of every tensor."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
