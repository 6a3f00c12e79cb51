"""From a file to an image, by the format that its suffix names."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stedalign import formats
from stedalign.errors import InputError, check_type, is_about_the_name
from stedalign.files import check_plain
from stedalign.formats import tiff
from stedalign.formats.facts import Facts
from stedalign.formats.selection import (
    EVERYTHING,
    SECTIONS,
    Pixels,
    Selection,
    listed,
    pixels_of,
    selected,
    space_of,
)
from stedalign.formats.stored import ImageStack, StackError, Stored, in_words
from stedalign.imaging.bead_in_sections import Sides, around_bead_in, cut, sides_around_bead, square_around_bead
from stedalign.imaging.bead_in_volume import around_bead, sections_through_bead
from stedalign.imaging.images import (
    AXES_OF,
    PLANES,
    FocalSection,
    Image,
    OrthoSections,
    PixelSize,
    Plane,
    Sections,
    Volume,
    check_pixel_nm,
)

LARGE = 2**24
"""Pixels of an image that is looked at once more before it is taken."""
NAMED = "::"
"""Between a file and the name of the stack that is meant: scan.obf::Ch1 {13}."""


CheckPixels = Callable[[Mapping[str, float]], None]
"""Raises ``InputError`` for sizes in nm along "x", "y", "z" that are too wide for what the image is taken for."""
AnyImage = TypeVar("AnyImage", bound=Image, covariant=True)


class Reader(Protocol):
    """What a format offers."""

    def __call__(self, path: Path, /) -> Stored: ...


@dataclass(frozen=True, eq=False)
class Loaded(Generic[AnyImage]):
    """An image, and what its file tells of the microscope."""

    image: AnyImage
    facts: Facts


def any_pixels(sizes: Mapping[str, float], /) -> None:
    """Takes pixels of any size."""


def readers() -> dict[str, Reader]:
    """How each suffix is read: every module of this package that names ``SUFFIXES`` is a format."""
    modules = [import_module(f"{formats.__name__}.{found.name}") for found in iter_modules(formats.__path__)]
    return {suffix: module.read for module in modules for suffix in getattr(module, "SUFFIXES", ())}


def load_sections(
    files: Mapping[str, Path | str], *, pixel_nm: PixelSize | None = None, selection: Selection = EVERYTHING
) -> Sections:
    """Read sections, "xy", "xz" or "yz", each from a file of its own or from a stack of its own, "FILE::NAME".

    The columns and rows of an xz section are x and z, those of a yz section y and z, unless its axes are labeled so
    themselves. The size of its pixels along both comes from its file or, where given, from ``pixel_nm`` (x, y, z).
    Sections may differ in size; their middles are taken for one point. Where they show far more than their bead they
    are cut around it, and shifts count from there. Raises ``StackError``, one line, for anything else, and ``OSError``
    where a disk fails.
    """
    return read_sections(files, pixel_nm=pixel_nm, selection=selection).image


def load_stack(
    path: Path | str,
    *,
    pixel_nm: PixelSize | None = None,
    selection: Selection = EVERYTHING,
    samples: int | None = None,
    whole: bool = False,
) -> Image:
    """Read three sections, one section alone, or a volume (Z, Y, X) with one bead, as the labels of its axes say.

    From a volume the sections are cut through the bead, or, where the ``whole`` volume is wanted, what lies around it;
    sections are cut around their bead where they show far more. Shifts count from the middle of what is left. Pixel
    sizes come from the file or, where given, from ``pixel_nm`` (x, y, z). ``samples`` limits the pixels along each axis
    of the sections cut from a volume. Where a file holds more than one image, ``selection`` says which is meant; stacks
    of the planes xy, xz and yz, one of each, are taken together. A file whose suffix no format names is read as TIFF,
    as those of many microscopes are. Raises ``StackError``, one line, for anything that is not such an image, and
    ``OSError`` where a disk fails.
    """
    return read_stack(path, pixel_nm=pixel_nm, selection=selection, samples=samples, whole=whole).image


def read_sections(
    files: Mapping[str, Path | str],
    *,
    pixel_nm: PixelSize | None = None,
    selection: Selection = EVERYTHING,
    check: CheckPixels = any_pixels,
) -> Loaded[Sections]:
    """``load_sections`` of pixels that pass ``check``, with what the first of the files tells of the microscope."""
    parts, facts = _section_files(files, pixel_nm, selection)
    return Loaded(_sections(parts, pixel_nm, check), facts)


def read_both_beams(
    depletion: Mapping[str, Path | str],
    excitation: Mapping[str, Path | str],
    *,
    pixel_nm: PixelSize | None = None,
    check: CheckPixels = any_pixels,
) -> tuple[Loaded[Sections], Sections]:
    """The sections of one scan by two beams, the second cut as the first is, around its bead.

    Raises ``StackError`` as ``load_sections``, and where the two differ in sections or their size, which is not one
    scan then.
    """
    if set(depletion) != set(excitation):
        raise StackError(
            f"both beams must show the same sections, got {', '.join(depletion)} by one and "
            f"{', '.join(excitation)} by the other"
        )
    parts, facts = _section_files(depletion, pixel_nm, EVERYTHING)
    other, _ = _section_files(excitation, pixel_nm, EVERYTHING)
    for name, (file, taken) in other.items():
        shape = parts[name][1].data.shape
        if taken.data.shape != shape:
            raise StackError(
                f"{file}: not of one scan with {parts[name][0]}: {in_words(taken.data.shape)} pixels, not "
                f"{in_words(shape)}"
            )
    with _unusable(*(file for file, _ in parts.values())):
        sides = sides_around_bead(_planes(parts, pixel_nm, check))
    return Loaded(_sections(parts, pixel_nm, check, sides), facts), _sections(other, pixel_nm, check, sides)


def _section_files(
    files: Mapping[str, Path | str], pixel_nm: PixelSize | None, selection: Selection
) -> tuple[dict[str, tuple[str, Pixels]], Facts]:
    """The pixels of each section with the name of its file, and what the first of these tells of the microscope."""
    check_type("sa.load_sections", files, Mapping)
    if not files or not set(files) <= set(PLANES):
        raise StackError(f"sections xy, xz or yz are expected, got {', '.join(files) or 'none'}")
    if pixel_nm is not None:
        with _unusable():
            check_pixel_nm(pixel_nm)
    taken, facts = {}, Facts()
    for name, file in files.items():
        check_type("sa.load_sections", file, str, os.PathLike)
        path, choice = _located(file, selection)
        content = stored(path)
        candidates = selected(path, content.stacks, choice)
        if len(candidates) > 1:
            raise StackError(
                f"{path}: more than one stack could be meant: {listed(content.stacks)}; name it: FILE::NAME"
            )
        taken[name] = pixels_of(path, candidates[0], choice)
        if taken[name].data.ndim != 2:
            shape = taken[name].data.shape
            raise StackError(f"{path}: a file with the {name} section alone is expected, got the shape {shape}")
        if taken[name].axes != AXES_OF[name] and (candidates[0].scanned or taken[name].axes != "yx"):
            raise StackError(f"{path}: its axes are labeled {taken[name].axes}, not {AXES_OF[name]} as of {name}")
        facts = facts if len(taken) > 1 else content.facts
    return {name: (str(file), taken[name]) for name, file in files.items()}, facts


def read_stack(
    path: Path | str,
    *,
    pixel_nm: PixelSize | None = None,
    selection: Selection = EVERYTHING,
    samples: int | None = None,
    whole: bool = False,
    check: CheckPixels = any_pixels,
) -> Loaded[Image]:
    """``load_stack`` of pixels that pass ``check``, with what the file tells of the microscope."""
    check_type("sa.load_stack", path, str, os.PathLike)
    if pixel_nm is not None:
        with _unusable():
            check_pixel_nm(pixel_nm)
    path, selection = _located(path, selection)
    content = stored(path)
    stacks = selected(path, content.stacks, selection)
    if len(stacks) == 1:
        taken = pixels_of(path, stacks[0], selection)
        image: Image = _image(path, taken, pixel_nm, check, samples=samples, whole=whole)
    else:
        # Planes that belong together are known by the file's own labels; of them there is no volume.
        parts = _one_of_each(path, stacks if selection.axes is None and not whole else [], content.stacks)
        planes = {name: (str(path), pixels_of(path, stack, selection)) for name, stack in parts.items()}
        image = _sections(planes, pixel_nm, check)
    return Loaded(image, content.facts)


def stored(path: Path) -> Stored:
    """What a file tells, by the format that its suffix names. No pixel is read.

    Raises ``StackError`` for what is no image file, nor any other: a device or a pipe would be read forever.
    """
    with _unusable():
        check_plain(path, math.inf)
    try:
        return readers().get(path.suffix.lower(), tiff.read)(path)
    except OSError as error:
        if not is_about_the_name(error):
            raise
        raise StackError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error


def _located(file: Path | str, selection: Selection) -> tuple[Path, Selection]:
    """The file and the stack that "FILE::NAME" means, unless a file has that name."""
    path = Path(file)
    name, mark, stack = os.fspath(file).partition(NAMED)
    if not mark or path.exists():
        return path, selection
    return Path(name), replace(selection, stack=stack)


def _one_of_each(path: Path, stacks: Sequence[ImageStack], held: Sequence[ImageStack]) -> dict[str, ImageStack]:
    """The one stack of each plane, where there are no others. Raises ``StackError`` with all that could be meant."""
    names = {axes: name for name, axes in AXES_OF.items()}
    planes = [names.get(space_of(stack), "") for stack in stacks]
    if planes and set(planes) <= set(PLANES) and len(set(planes)) == len(planes):
        return dict(zip(planes, stacks, strict=True))
    raise StackError(
        f"{path}: more than one stack could be meant: {listed(held)}; choose by --stack NAME, --series N "
        "or --channel NAME, or of each plane by --xy FILE::NAME --xz FILE::NAME"
    )


def _image(
    path: Path,
    taken: Pixels,
    pixel_nm: PixelSize | None,
    check: CheckPixels,
    *,
    samples: int | None,
    whole: bool,
) -> Image:
    data, axes = taken.data, taken.axes
    if taken.axes != SECTIONS and data.ndim not in (2, 3):
        raise StackError(
            f"{path}: sections (3, N, N), a volume (Z, Y, X) or an xy section (Y, X) are expected, "
            f"got the shape {data.shape}"
        )
    if whole and axes != "zyx":
        raise StackError(f"{path}: no volume, whose planes could all be taken: its shape is {data.shape}")
    if axes in ("zx", "zy"):
        name = next(name for name in PLANES if AXES_OF[name] == axes)
        return _sections({name: (str(path), taken)}, pixel_nm, check)
    x, y, z = pixel_nm or tuple(taken.stack.size_nm(axis) for axis in "xyz")
    pixel = x, y, x if axes == "yx" and pixel_nm is None else z
    shown = "xyz" if axes == SECTIONS else axes
    _check_values(path, data, {axis: size for axis, size in zip("xyz", pixel, strict=True) if axis in shown}, check)
    facts: dict[str, Any] = {"saturation": _ceiling(data), "simulated": taken.stack.simulated}
    with _unusable(path):
        if axes == "yx":
            section = FocalSection(data, pixel, **facts)
            return replace(section, data=around_bead_in({"xy": Plane(section.data, pixel[1::-1])})["xy"].data)
        if axes == SECTIONS:
            return square_around_bead(OrthoSections(data, pixel, **facts))
        volume = Volume(data, pixel, **facts)
        return around_bead(volume) if whole else sections_through_bead(volume, samples)[0]


def _sections(
    parts: Mapping[str, tuple[str, Pixels]],
    pixel_nm: PixelSize | None,
    check: CheckPixels,
    sides: Sides | None = None,
) -> Sections:
    """Sections of their files, by name, cut to ``sides`` or around their bead."""
    planes = _planes(parts, pixel_nm, check)
    levels = [level for _, taken in parts.values() for level in [_ceiling(taken.data)] if level is not None]
    simulated = any(taken.stack.simulated for _, taken in parts.values())
    with _unusable(*dict.fromkeys(file for file, _ in parts.values())):
        kept = around_bead_in(planes) if sides is None else cut(planes, sides)
        return Sections.of(kept, saturation=min(levels, default=None), simulated=simulated)


def _planes(
    parts: Mapping[str, tuple[str, Pixels]], pixel_nm: PixelSize | None, check: CheckPixels
) -> dict[str, Plane]:
    given = dict(zip("xyz", pixel_nm, strict=True)) if pixel_nm else None
    planes = {}
    for name, (file, taken) in parts.items():
        # Rows and columns are x and y to a file that does not know how the scan went.
        rows, columns = (given[axis] for axis in AXES_OF[name]) if given else map(taken.stack.size_nm, taken.axes)
        _check_values(Path(file), taken.data, dict(zip(AXES_OF[name], (rows, columns), strict=True)), check)
        planes[name] = Plane(taken.data, (rows, columns))
    return planes


def _check_values(path: Path, data: NDArray[Any], sizes: Mapping[str, float], check: CheckPixels) -> None:
    """Raise ``StackError`` for values that are no numbers, and for pixels whose size is not told or cannot be."""
    if any(map(math.isnan, sizes.values())):
        raise StackError(f"{path}: the file does not tell its pixel sizes; give them with --pixel-nm X Y Z")
    with _unusable(path):
        check_pixel_nm(tuple(sizes[axis] for axis in sorted(sizes)))
        check(sizes)
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise StackError(f"{path}: the image holds NaN or infinite values")
    # A small one finds its own words later, in numbers of eight bytes, of which a large one would take gigabytes.
    if data.size > LARGE and data.min() == data.max():
        raise StackError(f"{path}: the image is empty: every pixel has the same value")


@contextmanager
def _unusable(*files: Path | str) -> Iterator[None]:
    """Make a ``StackError`` that names the files of any word about what was given."""
    try:
        yield
    except InputError as error:
        raise StackError(f"{', '.join(map(str, files))}: {error}" if files else str(error)) from error


def _ceiling(data: NDArray[Any]) -> float | None:
    """The largest count that whole numbers of this kind can hold; None for others."""
    return float(np.iinfo(data.dtype).max) if data.dtype.kind in "ui" else None
