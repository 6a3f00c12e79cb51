"""Train the origin's networks and those of its outlook, and print the table of docs/results.md.

    python benchmarks/report_networks.py runs/report

A run that was begun there goes on, a finished one is only evaluated, and ``--names`` picks some of them. Each takes
half an hour to an hour on one core. The three of the outlook (``sections``, ``volume``, ``sequence``) simulate what
they see as they go and know of no dataset: of these, the error that the training found in the end is told.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

from stedalign.cli.main import main as stedalign
from stedalign.networks.registry import ORIGIN

CONFIGS = Path(__file__).parents[1] / "configs"
WITHOUT_NOISE = "multinet11_without_noise"
OUTLOOK = "sections", "volume", "sequence"


def run(*arguments: str) -> None:
    """One command, as on the command line; ends this script where it fails."""
    sys.argv = ["stedalign", *arguments]
    try:
        stedalign()
    except SystemExit as end:
        if end.code:
            raise


def evaluated(folder: Path) -> dict[str, dict[str, float | None]]:
    """The figures of the network in a run folder, on its test images with its noise."""
    if not (folder / "dataset.h5").exists():
        return {"rms_total_waves": json.loads((folder / "results.json").read_text())["test_error_waves"]}
    output = io.StringIO()
    with contextlib.redirect_stdout(output), tempfile.TemporaryDirectory() as images:
        run("evaluate", "--weights", str(folder / "weights.safetensors"), "--fit", "0", "--out", images, "--json")
    return json.loads(output.getvalue())["estimators"]["network"]


def row(name: str, folder: Path) -> str:
    """One line of the table."""
    figures = evaluated(folder)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]

    def cell(key: str, form: str, factor: float = 1.0) -> str:
        value = figures.get(key)
        return "" if value is None else f"{factor * value:{form}}"

    cells = [
        name,
        cell("mse_peak_waves", ".4f"),
        cell("rms_total_waves", ".1f", 1e3),
        cell("median_total_waves", ".1f", 1e3),
        cell("rms_total_mask_offset", ".4f"),
        cell("correlation_mean", ".4f"),
        f"{sum(line['seconds'] for line in log) / 60:.0f} min, {len(log)} epochs",
        f"`stedalign train configs/{config(name)}`",
    ]
    return "| " + " | ".join(cells) + " |"


def config(name: str) -> str:
    if name in OUTLOOK:
        return f"outlook/{name}.toml"
    return f"{name}.toml" if name == WITHOUT_NOISE else f"report/{name}.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the run folders")
    parser.add_argument("--names", nargs="*", default=[*ORIGIN, WITHOUT_NOISE, *OUTLOOK])
    parser.add_argument("--only-finished", action="store_true", help="train nothing")
    given = parser.parse_args()
    rows = []
    for name in given.names:
        folder = given.runs / name
        if not (folder / "results.json").exists():
            if given.only_finished:
                continue
            begun = ["--resume", str(folder)] if (folder / "run.json").exists() else []
            run("train", str(CONFIGS / config(name)), "--out", str(folder), *begun)
        rows.append(row(name, folder))
    titles = "network", "MSE", "rms (mλ)", "median (mλ)", "mask offset (radii)", "Pearson", "training", "command"
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    print("\n".join(rows))


if __name__ == "__main__":
    main()
