"""The bound on the command line: what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Outcome, Run, run_in

SETUP = """\
[sampling]
samples = 16
pixel_nm = [110.0, 110.0, 110.0]
[bead]
diameter_nm = 0.0
[nuisances]
mask_offset = 0.0
taper = 0.0
fill_center = 0.0
ellipticity_deg = 0.0
blur_nm = 0.0
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bound")
    (folder / "setup.toml").write_text(SETUP)
    return folder


def bound(desk: Path, *options: object) -> Outcome:
    return run_in(desk, "benchmark", "bound", "--setup", "setup.toml", *options)


def test_json_tells_the_bound_of_each_image_for_an_instrument_known_or_not(desk: Path) -> None:
    outcome = bound(desk, "--wavefronts", 2, "--photons", 700, "--background", 0.1, "--json")
    assert (outcome.code, outcome.err, outcome.written) == (0, "", set())
    found = outcome.json
    asked = {"photons": 700, "background": 0.1, "wavefronts": 2, "blind_waves": 0.03, "read_noise": 0, "seed": 0}
    assert found.items() >= asked.items()
    assert found["rms_waves"] == pytest.approx(0.12)
    pixels = {name: image["pixels"] for name, image in found["images"].items()}
    assert pixels == {"xy": 16**2, "sections": 3 * 16**2, "volume": 16**3}
    for image in found["images"].values():
        assert image["known_total_at_equal_dose_waves"] > 0
        for knowledge in ("known", "unsure"):
            told = image[knowledge]
            assert len(told["sigma_waves"]) == len(found["modes"]) == 11
            assert told["total_waves"] == pytest.approx(sum(sigma**2 for sigma in told["sigma_waves"]) ** 0.5)
            assert told["blind"] == []


def test_the_table_says_in_words_what_is_not_seen(desk: Path) -> None:
    outcome = bound(desk, "--strength", 0, "--without-volume")
    assert (outcome.code, outcome.err) == (0, "")
    for words in ("350 counts per pixel", "unaberrated", "oblique astigmatism", "xy: blind to spherical (", "768"):
        assert words in outcome.out
    assert "volume" not in outcome.out
    rows = {line[:30].strip(): line.split()[-4:] for line in outcome.out.splitlines() if line.strip()}
    assert rows["spherical"][:2] == rows["total"][:2] == ["blind", "blind"]
    assert float(rows["spherical"][3]) < 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--photons", "0"], ("photons = 0.0", "greater than 0")),
        (["--photons", "nan"], ("--photons",)),
        (["--background", "11"], ("--background", "10")),
        (["--background", "-1"], ("--background", "0")),
        (["--strength", "501"], ("--strength", "500")),
        (["--strength", "nan"], ("--strength",)),
        (["--wavefronts", "0"], ("--wavefronts", "1")),
    ],
)
def test_values_out_of_range_are_one_line_that_names_them(
    desk: Path, options: list[str], words: tuple[str, ...]
) -> None:
    bound(desk, *options).assert_refused(*words)


def test_a_volume_that_is_too_large_is_refused_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_text("[sampling]\nsamples = 512\n")
    run("benchmark", "bound", "--setup", tmp_path / "wide.toml").assert_refused("512", "leave the volume out")


def test_benchmark_alone_is_wrong_usage(run: Run) -> None:
    run("benchmark").assert_refused("Missing command", "stedalign benchmark --help")
