"""What a run writes down about itself, in its folder and in its checkpoints, and what a resumed run must match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stedalign.errors import InputError
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.networks.registry import NETWORKS
from stedalign.recorded import differences
from stedalign.spec import SpecError
from stedalign.training.spec import TrainSpec

CHECKPOINT_KEY = "stedalign"
"""Under which a checkpoint of the trainer holds the record, as JSON; the first ones lack it."""


def run_record(spec: TrainSpec, forward: ForwardSpec) -> dict[str, Any]:
    """What is trained, on which data and for which optics; fits JSON."""
    return {
        "train_spec": spec.model_dump(),
        "forward_spec": forward.model_dump(),
        "setup_hash": forward.hash,
        "modes": spec.outputs.modes.pairs if spec.outputs.modes is not None else [],
        "mask_offset": spec.outputs.mask_offset,
    }


def check_record(recorded: Mapping[str, Any], spec: TrainSpec, forward: ForwardSpec, source: str) -> None:
    """Raise ``InputError``, which begins with ``source``, unless this run may go on from the recorded one.

    It may have another number of epochs and nothing else. Descriptions are compared as this version reads them,
    not fingerprints.
    """
    try:
        held_spec = TrainSpec.parse(_as_it_counted(_without_nulls(recorded["train_spec"])))
        held_forward = ForwardSpec.recorded(_without_nulls(recorded["forward_spec"]))
    except SpecError as error:
        raise InputError(f"{source} a configuration that this version does not know ({error})") from error
    disagreement = differences(
        {"training": held_spec.model_dump(exclude={"epochs"}), "forward": held_forward.image},
        {"training": spec.model_dump(exclude={"epochs"}), "forward": forward.image},
    )
    if disagreement:
        raise InputError(f"{source} another configuration ({disagreement[0]}; asked for: {disagreement[1]})")


def _as_it_counted(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded ``TrainSpec`` less the drift of z-stacks, which the first runs wrote down and did not simulate."""
    network, simulation = NETWORKS.get(str(spec.get("network"))), spec.get("simulation")
    if network is None or not network.sees_stacks or not isinstance(simulation, dict):
        return dict(spec)
    return {**spec, "simulation": {key: value for key, value in simulation.items() if key != "drift_nm"}}


def _without_nulls(value: Any) -> Any:
    """Nested tables without the keys that are null, so that they take their defaults.

    A file of JSON has null for an infinite value too, and the one value that may be infinite, the beam's fill, is
    so by default.
    """
    if isinstance(value, dict):
        return {key: _without_nulls(entry) for key, entry in value.items() if entry is not None}
    return value
