"""From a name on the command line to a microscope."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from stedalign.errors import InputError, check_type
from stedalign.instrument.device_errors import one_line
from stedalign.instrument.protocols import Microscope, PsfSource, Shutter, Slm, Stage

GROUP = "stedalign.microscopes"
SIMULATED = EntryPoint("simulated", "stedalign.simulator.microscope:make_microscope", GROUP)


class MicroscopeError(InputError):
    """A microscope that was asked for cannot be had."""


def known_microscopes() -> dict[str, EntryPoint]:
    """The registered microscopes by name. No package can take the simulator's name for something else."""
    return {**{entry.name: entry for entry in entry_points(group=GROUP)}, SIMULATED.name: SIMULATED}


def load_microscope(name: str, setup: object, **options: object) -> Microscope:
    """The microscope ``name``, made for ``setup``.

    ``name`` is a registered name (entry-point group ``stedalign.microscopes``) or ``package.module:factory``;
    the factory is called with the setup, which this layer only hands on, and with ``options`` (the simulated
    one takes ``seed``). Raises ``MicroscopeError`` whenever no working microscope comes of it; never falls
    back on the simulation. What the simulated one raises itself is left as it is: no device is at fault there.
    """
    check_type("sa.load_microscope", name, str)
    factory = _factory(name)
    try:
        microscope = factory(setup, **options)
    except Exception as error:
        if name == SIMULATED.name:
            raise
        raise MicroscopeError(f"microscope '{name}' could not be started: {one_line(error)}") from error
    if not isinstance(microscope, Microscope):
        raise MicroscopeError(f"microscope '{name}': its factory made a {type(microscope).__name__}, not a Microscope")
    try:
        _check_parts(name, microscope)
    except MicroscopeError as error:
        # Nobody else holds it: left open, its ports stay taken.
        try:
            microscope.close()
        except Exception as failure:
            raise MicroscopeError(f"{error}; closing it failed as well: {one_line(failure)}") from failure
        raise
    return microscope


@contextmanager
def connected(microscope: Microscope) -> Iterator[Microscope]:
    """Close the connection at the end. A failure to do so is a warning: what was done on it stays done."""
    try:
        yield microscope
    finally:
        try:
            microscope.close()
        except Exception as error:
            warnings.warn(f"{microscope.name} could not be disconnected: {one_line(error)}", stacklevel=3)


def _check_parts(name: str, microscope: Microscope) -> None:
    """Raise ``MicroscopeError`` for a part that cannot do what the loop asks of it."""
    parts = [("source", PsfSource), ("slm", Slm), ("stage", Stage)]
    if microscope.shutter is not None:
        parts.append(("shutter", Shutter))
    for part, protocol in parts:
        if not isinstance(getattr(microscope, part), protocol):
            raise MicroscopeError(f"microscope '{name}': its {part} lacks methods of {protocol.__name__}")


def _factory(name: str) -> Callable[..., object]:
    """The callable that a name stands for."""
    known = known_microscopes()
    module_name, colon, attribute = name.partition(":")
    if name not in known and not colon:
        raise MicroscopeError(
            f"no microscope is called '{name}'; known: {', '.join(sorted(known))}, or package.module:factory"
        )
    try:
        if name in known:
            factory = known[name].load()
        else:
            factory = import_module(module_name)
            for part in attribute.split("."):
                factory = getattr(factory, part)
    except Exception as error:
        raise MicroscopeError(
            f"microscope '{name}' cannot be loaded: {one_line(error)} (known: {', '.join(sorted(known))})"
        ) from error
    if not callable(factory):
        raise MicroscopeError(f"microscope '{name}' is not a function that makes a microscope")
    made: Callable[..., object] = factory
    return made
