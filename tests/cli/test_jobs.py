"""Whole jobs on a coarse instrument: what they print, what they write, and how they end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drawings import assert_drawn

from stedalign.config import Setup
from stedalign.formats.stack import load_stack
from stedalign.imaging.images import OrthoSections
from stedalign.instrument.loading import load_microscope

SETUP = ("--setup", "coarse.toml", "--no-network")


@pytest.fixture(scope="module")
def estimated(on_bench, simulated):
    return on_bench("estimate", "bead.ome.tif", *SETUP, "--out", "estimated", "--json")


@pytest.fixture(scope="module")
def aligned(on_bench):
    return on_bench("align", *SETUP, "--seed", 2, "--max-corrections", 2, "--out", "aligned", "--json")


@pytest.fixture(scope="module")
def wrong_hand(on_bench, bench):
    """An image of a beam whose circular polarization turns the wrong way, and its estimate."""
    image = on_bench("simulate", "--setup", "wrong_hand.toml", "--photons", 500, "--out", "wrong.ome.tif")
    assert image.code == 0
    return on_bench("estimate", "wrong.ome.tif", *SETUP, "--out", "refused", "--json")


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_init_writes_the_default_instrument(run, tmp_path):
    outcome = run("init", "mine.toml")
    assert (outcome.code, outcome.out, outcome.err) == (0, "wrote mine.toml\n", "")
    assert Setup.load(tmp_path / "mine.toml") == Setup()


def test_init_replaces_a_file_when_asked(run, tmp_path):
    (tmp_path / "mine.toml").write_text("old")
    assert run("init", "mine.toml", "--overwrite").code == 0
    assert Setup.load(tmp_path / "mine.toml") == Setup()


def test_a_path_is_printed_as_it_is_even_where_it_looks_like_markup(run, tmp_path):
    (tmp_path / "[bold]x[").mkdir()
    assert run("init", "[bold]x[/bold].toml").out == "wrote [bold]x[/bold].toml\n"


def test_simulate_prints_the_truth_as_json_and_writes_the_image_alone(simulated):
    assert (simulated.code, simulated.err) == (0, "")
    assert {"modes", "waves", "rms_waves", "bead_nm", "file", "seed"} <= simulated.json.keys()
    assert simulated.written == {"bead.ome.tif"}


def test_a_simulated_image_says_so_and_knows_its_pixel_size(simulated, bench):
    sections = load_stack(bench / "bead.ome.tif")
    assert sections.simulated
    assert sections.pixel_nm == (80.0, 80.0, 80.0)


def test_a_terminal_without_greek_letters_gets_a_question_mark(run, bench):
    outcome = run("simulate", "--setup", bench / "coarse.toml", "--out", "bead.tif", encoding="ascii")
    assert (outcome.code, outcome.err) == (0, "")
    assert "m? rms hidden" in outcome.out
    assert "SIMULATED" in outcome.out


def test_a_dataset_is_made_with_one_json_object_on_standard_output(run, bench):
    arguments = ("--setup", bench / "coarse.toml", "--samples", 10, "--json")
    outcome = run("dataset", "--out", "data.h5", *arguments)
    assert (outcome.code, outcome.err, outcome.written) == (0, "", {"data.h5"})
    assert outcome.json["samples"] == {"train": 8, "val": 1, "test": 1}
    again = run("dataset", "--out", "data.h5", *arguments)
    assert (again.code, again.written) == (0, set())


def test_jobs_of_an_array_make_a_dataset_side_by_side(run, bench, tmp_path):
    arguments = ("dataset", "--out", "data.h5", "--setup", bench / "coarse.toml", "--samples", 40)
    first = run(*arguments, "--shard", "1/2", "--json")
    assert (first.code, first.err) == (0, "")
    assert first.json == {"file": "data.h5", "shard": "1/2", "first": 0, "samples": 32}
    run(*arguments, "--join").assert_refused("data.h5.parts/", "(images 32 to 39) is missing")
    second = run(*arguments, "--shard", "2/2")
    assert (second.code, second.out) == (0, "data.h5.parts: shard 2/2, images 32 to 39 of 40\n")
    assert run(*arguments, "--shard", "2/2").written == set()
    joined = run(*arguments, "--join", "--json")
    assert (joined.code, joined.err, joined.written) == (0, "", {"data.h5"})
    assert joined.json["samples"] == {"train": 32, "val": 4, "test": 4}
    assert run(*arguments).written == set()

    part = next((tmp_path / "data.h5.parts").glob("*-00000000.h5"))
    part.unlink()
    run(*arguments).assert_refused("data.h5 shows the images in", part.name, "which is missing")


@pytest.mark.parametrize(
    ("shard", "words"),
    [
        (("--shard", "0/8"), "'0/8' is no shard: 3/8 is the third of eight"),
        (("--shard", "9/8"), "'9/8' is no shard"),
        (("--shard", "a/b"), "'a/b' is no shard"),
        (("--shard", "1/8"), "40 samples make 2 parts, too few for 8 shards"),
        (("--shard", "1/2", "--join"), "choose either --shard or --join"),
        (("--join",), "(images 0 to 31) is missing; run the command that makes it"),
    ],
)
def test_what_no_job_can_make_is_refused(run, bench, shard, words):
    run("dataset", "--out", "x.h5", "--setup", bench / "coarse.toml", "--samples", 40, *shard).assert_refused(words)


def test_estimate_prints_the_promised_keys_as_json_and_nothing_else(estimated):
    assert (estimated.code, estimated.err) == (0, "")
    promised = {"modes", "waves", "sigma_waves", "rms_waves", "reduced_chi2", "accepted", "null_ratio", "mask"}
    assert promised <= estimated.json.keys()


def test_estimate_finds_what_was_simulated(estimated, simulated):
    error = np.array(estimated.json["waves"]) - simulated.json["waves"]
    assert np.abs(error / estimated.json["sigma_waves"]).max() < 5
    assert estimated.json["accepted"]


def test_estimate_writes_mask_image_and_numbers_where_it_was_told(estimated, bench):
    assert estimated.json["mask"] == "estimated/mask.bmp"
    names = {"mask.bmp", "mask.png", "mask.json", "estimate.json", "estimate.png", "setup.toml"}
    assert names <= {path.name for path in (bench / "estimated").iterdir()}
    assert_drawn(bench / "estimated/estimate.png")
    assert all(path == "estimated" or path.startswith("estimated/") for path in estimated.written)


def test_sections_are_estimated_from_files_of_their_own(on_bench, bench, simulated):
    image = load_stack(bench / "bead.ome.tif")
    np.save(bench / "xz.npy", image.data[1])
    np.save(bench / "yz.npy", image.data[2][2:-2])
    pixel = ("--pixel-nm", *image.pixel_nm)
    found = on_bench("estimate", "--xz", "xz.npy", "--yz", "yz.npy", *pixel, *SETUP, "--out", "sections", "--json")
    assert (found.code, found.err) == (0, "")
    error = np.array(found.json["waves"]) - simulated.json["waves"]
    assert np.abs(error / found.json["sigma_waves"]).max() < 5
    assert found.json["crest_uniformity"] is None
    assert set(found.json["correlations"]) == {"xz", "yz"}
    assert_drawn(bench / "sections/estimate.png")


def test_a_strict_estimate_with_model_error_fails_and_makes_no_mask(on_bench, bench, simulated):
    """Of an image with fringes of stray light, which no model knows."""
    image = load_stack(bench / "bead.ome.tif")
    counts = image.data + 25 * (1 + np.sin(np.indices(image.data.shape).sum(axis=0) / 2.0))
    np.save(bench / "fringes.npy", counts)
    arguments = ("estimate", "fringes.npy", "--pixel-nm", *image.pixel_nm, *SETUP)
    usual = on_bench(*arguments, "--out", "usual")
    assert usual.code == 0
    assert "accepted with model error: " in usual.out
    assert "counts a photon, baseline" in usual.out
    assert (bench / "usual/mask.bmp").exists()
    strict = on_bench(*arguments, "--strict", "--out", "strict", "--json")
    assert strict.code == 1
    assert strict.err.startswith("stedalign: refused: model error: the model misses ")
    assert strict.json["mask"] is None
    assert (strict.json["grade"], strict.json["accepted"]) == ("accepted with model error", True)
    assert not list((bench / "strict").glob("mask.*"))


def test_the_wrong_handedness_is_refused_with_a_reason(wrong_hand):
    assert wrong_hand.code == 1
    assert wrong_hand.err.count("\n") == 1
    assert wrong_hand.err.startswith("stedalign: refused: this does not look like this setup's focus")
    assert "handedness" in wrong_hand.err


def test_a_refused_estimate_still_prints_its_json_but_makes_no_mask(wrong_hand, bench):
    assert wrong_hand.json["accepted"] is False
    assert wrong_hand.json["reason"]
    assert wrong_hand.json["mask"] is None
    assert not list((bench / "refused").glob("mask.*"))


def test_the_wavelength_of_another_setup_is_refused(run, bench, simulated, tmp_path):
    text = (bench / "coarse.toml").read_text() + "[depletion]\nwavelength_nm = 592.0\n"
    (tmp_path / "yellow.toml").write_text(text)
    outcome = run("estimate", bench / "bead.ome.tif", "--setup", "yellow.toml", "--no-network", "--out", "refused")
    assert outcome.code == 1
    assert outcome.err.startswith("stedalign: refused: ")
    assert "SIMULATED bead" in outcome.out


def test_the_model_explains_the_sections_of_a_volume_to_the_noise(run, on_bench, bench):
    """An error of half a pixel in the cut would show in chi2."""
    made = on_bench("simulate", "--setup", "coarse.toml", "--volume", "--photons", 500, "--out", "volume.ome.tif")
    assert made.code == 0
    outcome = run("estimate", bench / "volume.ome.tif", "--setup", bench / "coarse.toml", "--no-network", "--json")
    assert outcome.json["reduced_chi2"] == pytest.approx(1, abs=0.1)
    assert outcome.json["simulated"]


def test_align_prints_the_promised_keys_as_json_and_nothing_else(aligned):
    assert aligned.code == 0
    promised = {
        *("simulated", "converged", "iterations", "rms_before_waves", "rms_after_waves", "null_ratio_before"),
        *("null_ratio_after", "correlation_before", "correlation_after", "run_folder", "mask"),
    }
    assert promised <= aligned.json.keys()
    assert aligned.err == ""


def test_align_ends_better_than_it_began(aligned):
    assert aligned.json["simulated"]
    assert aligned.json["rms_after_waves"] < aligned.json["rms_before_waves"] / 2


def test_the_log_of_an_alignment_ends_with_its_result(aligned, bench):
    last = log_of(bench / "aligned")[-1]
    assert last["event"] == "finished"
    assert last["reason"] == aligned.json["reason"]


@pytest.fixture
def rig(vendor):
    """A microscope whose panel, stage and shutter are simulated and whose ``acquire`` the test writes."""
    parts = load_microscope("simulated", Setup.parse({"sampling": {"samples": 16, "pixel_nm": [110.0] * 3}}))
    parts.slm.show(np.full(parts.slm.shape, 7, dtype=np.uint8))
    parts.source = SimpleNamespace(acquire=None)
    vendor.factory = lambda _: parts
    return parts


RESTORED = "the shutter is closed, the mask from before is shown, the stage is back where it was"


def assert_left_as_found(rig, folder: Path) -> None:
    assert (rig.slm.shown() == 7).all()
    assert not rig.shutter.is_open
    assert log_of(folder)[-1]["event"] == "aborted"


def test_a_dark_microscope_ends_the_alignment_with_a_reason(run, rig, tmp_path):
    rig.source.acquire = lambda: OrthoSections(np.zeros((3, 16, 16)), (110.0, 110.0, 110.0))
    outcome = run("align", "--no-network", "--microscope", "vendor_of_tests:factory", "--out", "run", "--json")
    outcome.assert_failed("the image is empty", f"; {RESTORED}\n")
    assert_left_as_found(rig, tmp_path / "run")


def test_ctrl_c_leaves_the_microscope_as_it_was_and_says_so(run, rig, tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    rig.source.acquire = interrupted
    outcome = run("align", "--no-network", "--microscope", "vendor_of_tests:factory", "--out", "run", "--json")
    outcome.assert_failed(f"stopped by Ctrl-C: {RESTORED}; log in run")
    assert_left_as_found(rig, tmp_path / "run")


def test_ctrl_c_says_truly_what_could_not_be_brought_back(run, rig, monkeypatch, tmp_path):
    def interrupted():
        monkeypatch.setattr(rig.slm, "show", out_of_order)
        raise KeyboardInterrupt

    def out_of_order(_):
        raise OSError("no answer")

    rig.source.acquire = interrupted
    outcome = run("align", "--no-network", "--microscope", "vendor_of_tests:factory", "--out", "run", "--json")
    outcome.assert_failed(
        "the shutter is closed, the mask from before could not be shown (OSError: no answer), the stage"
    )
    assert not rig.shutter.is_open


def test_a_signal_ends_the_process_in_the_same_way(bench, tmp_path):
    # A shell starts background jobs with SIGINT ignored; the handler undoes that.
    program = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from stedalign.cli.main import main
main()
"""
    command = [sys.executable, "-c", program]
    arguments = ["align", "--setup", str(bench / "coarse.toml"), "--no-network", "--out", "run", "--json"]
    with subprocess.Popen(
        command + arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        log = tmp_path / "run" / "log.jsonl"
        deadline = time.monotonic() + 120
        while not log.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, "")
    assert err == f"stedalign: stopped by Ctrl-C: {RESTORED}; log in run\n"
    assert log_of(tmp_path / "run")[-1]["event"] == "aborted"
