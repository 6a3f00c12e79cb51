"""The processes that train one network together, one for each device: who they are, and how they meet.

Lightning would start the command anew for each device, and kill what is left when one ends. Here the first process of
a machine starts the others at the call that got it here, with the same arguments and whatever its command line was, and
takes them with it when it ends. SLURM (``srun``) and ``torchrun`` start all of them; then nothing is started here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
from lightning import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import distributed

from stedalign.errors import InputError
from stedalign.training.lightning_fixes import quiet
from stedalign.training.worker_processes import workers

Made = TypeVar("Made")
Devices = int | Literal["auto"]
# Making a dataset may take days, and the others have nothing to do meanwhile.
MEETING_TIMEOUT = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """All processes of a training, seen from one of them."""

    devices: int = 1
    """Processes on each machine."""
    nodes: int = 1
    """Machines."""
    rank: int = 0
    """Which process this is, of all machines; the first is 0."""
    waiting: Any = None
    """The group in which they wait for each other however long it takes."""

    @property
    def world(self) -> int:
        return self.devices * self.nodes

    def first(self, make: Callable[[], Made]) -> Made:
        """What ``make`` returns in the first process, in all of them; in the others it is not called.

        Where it raises, the others end without a word.
        """
        if self.world == 1:
            return make()
        box: list[tuple[Made, ...]] = [()]
        try:
            if self.rank == 0:
                box = [(make(),)]
        finally:
            distributed.broadcast_object_list(box, src=0, group=self.waiting)
        if not box[0]:
            raise SystemExit
        return box[0][0]

    def leave_to_first(self) -> None:
        """End this process unless it is the first one, which does the rest alone."""
        if self.rank:
            raise SystemExit


@contextmanager
def together(devices: Devices, nodes: int, again: Callable[[], object]) -> Iterator[Processes]:
    """Meet the other processes, which are started where that is ours to do, and end with them.

    ``devices`` on each of ``nodes`` machines; "auto" takes all GPUs of this one, or its CPU. ``again`` is what another
    process on this machine calls to come to this place: it must be picklable, as must be what it is called with.

    Raises ``InputError`` where there are not so many, and ``RuntimeError`` where another process fails.
    """
    count = _devices(devices)
    started = os.environ.get("WORLD_SIZE") if "LOCAL_RANK" in os.environ else None
    if started is not None and int(started) != count * nodes:
        raise InputError(f"this is one of {started} processes, not of {count} on each of {nodes} nodes: say how many")
    if count * nodes == 1:
        yield Processes()
        return
    strategy = DDPStrategy()
    with quiet():
        fabric = Fabric(strategy=strategy, devices=count, num_nodes=nodes)
    environment = strategy.cluster_environment
    assert environment is not None
    with ExitStack() as stack:
        stack.callback(_disband)
        if not environment.creates_processes_externally:
            variables = {
                "MASTER_ADDR": environment.main_address,
                "MASTER_PORT": str(environment.main_port),
                "NODE_RANK": str(environment.node_rank()),
                "WORLD_SIZE": str(count * nodes),
            }
            stack.enter_context(workers(again, variables, count))
        with quiet():
            fabric.launch()
        if fabric.global_rank:
            stack.enter_context(_in_silence())
        try:
            waiting = distributed.new_group(backend="gloo", timeout=MEETING_TIMEOUT)
            yield Processes(count, nodes, fabric.global_rank, waiting)
        except SystemExit:
            _disband()
            raise
        _disband()


def _devices(asked: Devices) -> int:
    gpus = torch.cuda.device_count()
    count = (gpus or 1) if asked == "auto" else asked
    if gpus and count > gpus:
        raise InputError(f"{count} devices were asked for, and there are {gpus} GPUs")
    return count


def _disband() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def _in_silence() -> Iterator[None]:
    """The first process alone warns, and reports Ctrl-C."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except KeyboardInterrupt:
            raise SystemExit from None
