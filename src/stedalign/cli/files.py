"""What a file of images holds, and the options that choose in it."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stedalign.cli.options import Json, print_json

if TYPE_CHECKING:
    from stedalign.formats.selection import Selection

PixelNm = Annotated[
    tuple[float, float, float] | None, typer.Option(help="Pixel sizes x y z, where the file does not tell.")
]
WholeVolume = Annotated[
    bool, typer.Option("--whole-volume", help="Fit a volume evenly around its bead, not three sections of it.")
]
ExcitationXy = Annotated[
    Path | None, typer.Option("--excitation-xy", help="The xy section of the same scan by the excitation beam.")
]
ExcitationXz = Annotated[Path | None, typer.Option("--excitation-xz", help="The same of the xz section.")]
ExcitationYz = Annotated[Path | None, typer.Option("--excitation-yz", help="The same of the yz section.")]
Stack = Annotated[str | None, typer.Option("--stack", help="Name of the stack, of those that 'inspect' lists.")]
Series = Annotated[int | None, typer.Option("--series", min=0, help="Or its number there, counted from 0.")]
Channel = Annotated[str | None, typer.Option("--channel", help="Number, from 0, or name of the channel or color.")]
Frame = Annotated[int | None, typer.Option("--frame", min=0, help="Number of the frame in time, counted from 0.")]
Axes = Annotated[
    str | None,
    typer.Option(help='What the axes are, where the file does not tell: ZYX for a volume, "sections" for xy, xz, yz.'),
]


def chosen(
    stack: str | None, series: int | None, channel: str | None, frame: int | None, axes: str | None
) -> Selection:
    """What the options choose."""
    from stedalign.formats.selection import Selection

    number = int(channel) if channel and channel.isdecimal() else channel
    return Selection(stack=stack, series=series, channel=number, frame=frame, axes=axes)


def inspect(
    file: Annotated[Path, typer.Argument(help="TIFF, .npy, .msr or .obf.")],
    json: Json = False,
) -> None:
    """List the image stacks in a file, and what it tells of the microscope. No pixel is read."""
    from stedalign.jobs.inspect import inspect as job

    content = job(file).to_json()
    if json:
        print_json(content)
        return
    console = Console(soft_wrap=True, highlight=False)
    if content["stacks"]:
        console.print(_table(content["stacks"]))
    else:
        console.print("no image stack")
    for name, value in content["facts"].items():
        for line in _lines(name.replace("_", " "), value):
            console.print(escape(line))


def _table(stacks: list[dict[str, Any]]) -> Table:
    table = Table()
    for name in ("", "name", "axes", "shape", "values", "pixel (nm)", "channels"):
        table.add_column(name)
    for stack in stacks:
        pixels = ", ".join(f"{axis} {size:.6g}" for axis, size in stack["pixel_nm"].items() if isfinite(size))
        shape, channels = " x ".join(map(str, stack["shape"])), ", ".join(stack["channels"])
        cells = (stack["name"], stack["axes"], shape, stack["dtype"], pixels or "not told", channels)
        table.add_row(str(stack["number"]), *map(escape, cells))
    return table


def _lines(name: str, value: Any) -> list[str]:
    """A fact as lines of text; none where the file does not tell it."""
    if isinstance(value, dict):
        return [f"{name} {key}: {each}" for key, each in value.items()]
    if isinstance(value, tuple):
        return [f"laser {_laser(each)}" for each in value]
    return [f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}"] if value else []


def _laser(laser: dict[str, Any]) -> str:
    power = laser["power_percent"]
    return f"{laser['name']}: {laser['wavelength_nm']:g} nm" + ("" if power is None else f", {power:g} % power")
