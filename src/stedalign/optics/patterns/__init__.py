"""The phase masks that shape the focus, one small file for each kind.

A pattern is its keys, its phase and the steps of that phase, which the quadrature must know. Begin with ``pattern``,
and copy ``half_moon`` for a new one: a file here is found by itself.
"""

from importlib import import_module
from pkgutil import iter_modules

from stedalign.optics.patterns.bivortex import Bivortex
from stedalign.optics.patterns.flat import Flat
from stedalign.optics.patterns.half_moon import HalfMoon
from stedalign.optics.patterns.mask_file import MaskFile
from stedalign.optics.patterns.pattern import Mask, Pattern
from stedalign.optics.patterns.registry import AnyPattern, known_kinds, parse_pattern, pattern_class
from stedalign.optics.patterns.top_hat import TopHat
from stedalign.optics.patterns.vortex import Vortex

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "AnyPattern",
    "Bivortex",
    "Flat",
    "HalfMoon",
    "Mask",
    "MaskFile",
    "Pattern",
    "TopHat",
    "Vortex",
    "known_kinds",
    "parse_pattern",
    "pattern_class",
]
