"""Setups, weights, wavefronts, microscopes and folders that cannot be used: one line, exit 2, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stedalign.config import Setup
from stedalign.instrument.protocols import Microscope
from stedalign.networks.checkpoint import WeightsRecord, save_network
from stedalign.networks.outputs import Outputs
from stedalign.networks.registry import build
from stedalign.optics.wavefront import ModeSet

# Commands in which a setup is read, each with everything else in order.
WITH_SETUP = [
    ("simulate", "--out", "made.ome.tif"),
    ("mask", "--out", "made.bmp"),
    ("estimate", "flat.npy", "--pixel-nm", 30, 30, 30),
    ("align",),
    ("dataset", "--out", "made.h5"),
    ("evaluate", "--data", "made.h5"),
]


@pytest.mark.parametrize("command", WITH_SETUP, ids=lambda command: command[0])
def test_every_command_refuses_a_bad_setup(run, tmp_path, flat_image, command):
    (tmp_path / "my.toml").write_text("[objective]\nNAA = 1.4\n")
    run(*command, "--setup", "my.toml").assert_refused(
        "my.toml: unknown key 'NAA' in [objective]; the nearest known key is 'na'"
    )


def save_weights(path: Path, setup: Setup, modes: ModeSet) -> None:
    outputs = Outputs(modes)
    module = build("multinet11", outputs, setup.forward)
    save_network(path, module, WeightsRecord("multinet11", setup.forward, outputs))


@pytest.fixture(scope="module")
def sixteen() -> Setup:
    return Setup.parse({"sampling": {"samples": 16, "pixel_nm": [110.0, 110.0, 110.0]}})


@pytest.fixture
def with_weights(run, tmp_path, flat_image, sixteen):
    """Estimate with a setup of 16 samples and ``weights.safetensors``."""
    (tmp_path / "sixteen.toml").write_text(sixteen.to_toml())
    arguments = ("estimate", "flat.npy", "--pixel-nm", 110, 110, 110, "--setup", "sixteen.toml")
    return lambda: run(*arguments, "--weights", "weights.safetensors")


def test_missing_weights_are_refused(with_weights):
    with_weights().assert_refused("there are no weights at weights.safetensors")


def test_truncated_weights_are_refused(with_weights, tmp_path, sixteen):
    path = tmp_path / "weights.safetensors"
    save_weights(path, sixteen, sixteen.modes)
    path.write_bytes(path.read_bytes()[:-1000])
    with_weights().assert_refused("weights.safetensors is no complete safetensors file")


def test_weights_of_another_mode_set_are_refused_with_both(with_weights, tmp_path, sixteen):
    save_weights(tmp_path / "weights.safetensors", sixteen, ModeSet.from_ansi([3, 5]))
    with_weights().assert_refused("[(2, -2), (2, 2)]", str(sixteen.modes))


def test_weights_for_the_mask_offset_alone_cannot_start_an_estimate(with_weights, tmp_path, sixteen):
    outputs = Outputs(None, mask_offset=True)
    module = build("offsetnet2", outputs, sixteen.forward)
    save_network(tmp_path / "weights.safetensors", module, WeightsRecord("offsetnet2", sixteen.forward, outputs))
    with_weights().assert_refused("for the mask offset alone", str(sixteen.modes))


def test_weights_of_another_setup_are_refused_with_both_values(with_weights, tmp_path, sixteen):
    other = Setup.parse(sixteen.model_dump(mode="json") | {"bead": {"diameter_nm": 150.0}})
    save_weights(tmp_path / "weights.safetensors", other, other.modes)
    with_weights().assert_refused("diameter_nm = 150.0", "this setup has diameter_nm = 80.0")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'{"modes": [[2, 2]]}',
        b'{"modes": [[2, 2]], "waves": [0.1, 0.2]}',
        b'{"modes": [[2, 2]], "waves": [NaN]}',
        b'{"modes": [[2, 1]], "waves": [0.1]}',
        b'{"modes": [[2]], "waves": [0.1]}',
        b'{"modes": [[1e999, 2]], "waves": [0.1]}',
        b'{"modes": [[2, 2], [2, 2]], "waves": [0.1, 0.1]}',
        b'{"modes": [], "waves": []}',
        b'{"modes": 2, "waves": 0.1}',
        b'{"modes": [[2, 2]], "waves": [null]}',
        b'{"modes": [[2, 2]], "waves": [true]}',
        b'{"modes": [[2, 2]], "waves": ["0.1"]}',
        b'{"modes": [[2, 2]], "waves": [1e308]}',
        b'{"modes": [[2, 2]], "waves": [5]}',
        b'{"modes": [[true, true]], "waves": [0.1]}',
        b'{"modes": [[1000000000000, 0]], "waves": [0.1]}',
        b'{"modes": [[2, 2]], "waves": [0.1], "unit": "radians"}',
        b'{"modes": [[2, 2]], "waves": [0.1], "wavelength_nm": true}',
    ],
)
def test_json_without_a_wavefront_is_refused(run, tmp_path, content):
    (tmp_path / "bad.json").write_bytes(content)
    run("mask", "--out", "made.bmp", "--waves", "bad.json").assert_refused("bad.json: no wavefront in it")


@pytest.mark.parametrize(
    "command",
    [
        ("mask", "--out", "made.bmp", "--waves", "none.json"),
        ("mask", "--out", "made.bmp", "--estimate", "none.json"),
        ("simulate", "--out", "made.ome.tif", "--waves", "none.json"),
        ("align", "--start", "none.json"),
    ],
)
def test_a_missing_wavefront_is_named(run, command):
    run(*command).assert_refused("none.json: no such file or directory")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("abberior", ("no microscope is called 'abberior'", "known: simulated")),
        ("no_such_module:factory", ("cannot be loaded", "no_such_module")),
        ("vendor_of_tests:nothing", ("cannot be loaded", "nothing")),
        ("vendor_of_tests:number", ("is not a function",)),
        ("vendor_of_tests:raises", ("could not be started", "OSError: no camera on port 3")),
        ("vendor_of_tests:something_else", ("its factory made a dict, not a Microscope",)),
        ("vendor_of_tests:wrong_parts", ("its source lacks methods of PsfSource",)),
        (":", ("cannot be loaded",)),
        ("", ("no microscope is called ''",)),
    ],
)
def test_a_microscope_that_cannot_be_had_is_never_replaced_by_a_simulation(run, vendor, name, words):
    def raises(_):
        raise OSError("no camera\non port 3")

    vendor.number = 3
    vendor.raises = raises
    vendor.something_else = lambda _: {}
    vendor.wrong_parts = lambda _: Microscope("camera", "panel", "stage")
    run("align", "--no-network", "--microscope", name).assert_refused(*words)


OUTPUTS = [
    ("init", "made.toml"),
    ("simulate", "--out", "made.ome.tif"),
    ("mask", "--out", "made.bmp"),
    ("dataset", "--out", "made.h5"),
]


@pytest.mark.parametrize("command", OUTPUTS, ids=lambda command: command[0])
def test_a_file_that_is_there_stays_as_it_was(run, tmp_path, command):
    (tmp_path / command[-1]).write_text("precious")
    run(*command).assert_refused(command[-1])


@pytest.mark.parametrize("command", OUTPUTS[:3], ids=lambda command: command[0])
def test_the_refusal_to_replace_a_file_says_what_to_do(run, tmp_path, command):
    (tmp_path / command[-1]).write_text("precious")
    run(*command).assert_refused("exists already", "--overwrite")


@pytest.mark.parametrize("command", OUTPUTS, ids=lambda command: command[0])
def test_a_folder_is_never_replaced_by_a_file(run, tmp_path, command):
    (tmp_path / command[-1]).mkdir()
    run(*command, "--overwrite").assert_refused(f"{command[-1]} is a folder")


@pytest.mark.parametrize("command", OUTPUTS[:3], ids=lambda command: command[0])
def test_a_file_in_a_folder_that_is_not_there_is_refused(run, command):
    run(*command[:-1], f"nowhere/{command[-1]}").assert_refused("nowhere: no such folder")


@pytest.mark.parametrize("command", OUTPUTS, ids=lambda command: command[0])
def test_a_file_below_a_file_is_refused(run, tmp_path, command):
    (tmp_path / "file").write_text("precious")
    run(*command[:-1], f"file/{command[-1]}").assert_refused("file")


def test_the_side_car_of_another_mask_stays_as_it_was(run, tmp_path):
    (tmp_path / "made.json").write_text("precious")
    run("mask", "--out", "made.bmp").assert_refused("made.json exists already", "--overwrite")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("simulate", "--out", "made.png"), ".tif or .tiff"),
        (("mask", "--out", "made.jpg"), ".bmp or .png"),
        (("mask", "--out", "made"), ".bmp or .png"),
    ],
)
def test_a_suffix_that_would_lie_about_the_format_is_refused(run, command, words):
    run(*command).assert_refused("must end in", words)


RUNS = [
    ("estimate", "flat.npy", "--pixel-nm", 30, 30, 30, "--no-network"),
    ("align", "--no-network"),
    ("evaluate", "--data", "made.h5"),
]


@pytest.mark.parametrize("command", RUNS, ids=lambda command: command[0])
def test_a_run_folder_that_is_not_empty_is_refused(run, tmp_path, flat_image, command):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "estimate.json").write_text("precious")
    run(*command, "--out", "result").assert_refused("result is not empty", "--out")


@pytest.mark.parametrize("out", ["file", "file/result"])
@pytest.mark.parametrize("command", RUNS, ids=lambda command: command[0])
def test_a_run_folder_that_cannot_be_made_is_refused(run, tmp_path, flat_image, command, out):
    (tmp_path / "file").write_text("precious")
    run(*command, "--out", out).assert_refused("file is not a folder")


def test_a_run_folder_is_refused_before_the_microscope_is_touched(run, tmp_path, vendor):
    vendor.factory = lambda _: (tmp_path / "touched").touch()
    (tmp_path / "file").write_text("precious")
    run("align", "--no-network", "--out", "file", "--microscope", "vendor_of_tests:factory").assert_refused("file")


def test_a_dataset_that_is_none_cannot_be_evaluated(run, tmp_path):
    (tmp_path / "bead.h5").write_text("hello")
    run("evaluate", "--data", "bead.h5").assert_refused("bead.h5 cannot be read as a dataset")


def test_a_bad_training_configuration_is_refused(run, tmp_path):
    (tmp_path / "train.toml").write_text("epoch = 3\n")
    run("dataset", "--out", "made.h5", "--config", "train.toml").assert_refused(
        "train.toml: unknown key 'epoch'", "nearest known key is 'epochs'"
    )


def test_the_report_format_is_refused_through_init_as_well(run, tmp_path):
    (tmp_path / "report.txt").write_text("__import__('os').system('touch owned')")
    run("init", "made.toml", "--from-dict", "report.txt").assert_refused("report.txt: neither JSON nor a Python dict")


def test_as_the_origin_is_for_the_origins_format_alone(run):
    run("init", "made.toml", "--as-the-origin").assert_refused("--from-dict")


def test_a_mask_can_be_replaced_when_asked(run, tmp_path):
    (tmp_path / "made.bmp").write_text("old")
    outcome = run("mask", "--out", "made.bmp", "--overwrite")
    assert outcome.code == 0
    assert outcome.written == {"made.bmp", "made.json"}


ESTIMATE = {"modes": [[2, 2]], "waves": [0.1], "sigma_waves": [0.01], "accepted": True}
SIDECAR = {"modes": [[2, 2]], "waves": [0.1], "sign": "added to the pupil phase", "wavelength_nm": 775.0}
MASK, TWO_WAVELENGTHS = ("mask", "--out", "made.bmp"), ("is for 592.0 nm", "depletion beam has 775.0 nm")


@pytest.mark.parametrize(
    ("command", "content", "words"),
    [
        ((*MASK, "--estimate"), ESTIMATE | {"accepted": False, "reason": "too dim"}, ("was refused (too dim)",)),
        ((*MASK, "--estimate"), ESTIMATE | {"accepted": None}, ("was refused",)),
        ((*MASK, "--estimate"), SIDECAR, ("is a correction already", "--waves")),
        ((*MASK, "--waves"), ESTIMATE, ("is an estimate", "--estimate")),
        (("align", "--no-network", "--start"), ESTIMATE, ("is an estimate",)),
        ((*MASK, "--waves"), SIDECAR | {"wavelength_nm": 592.0}, TWO_WAVELENGTHS),
        ((*MASK, "--waves"), SIDECAR | {"wavelength_nm": "red"}, ("no wavefront in it",)),
        ((*MASK, "--waves"), SIDECAR | {"sign": "subtracted"}, ("sign = 'subtracted'", "'added to the pupil phase'")),
        ((*MASK, "--waves"), SIDECAR | {"sign": None}, ("sign = None", "'added to the pupil phase'")),
        ((*MASK, "--estimate"), ESTIMATE | {"sign": -1}, ("sign = -1", "'added to the pupil phase'")),
        ((*MASK, "--estimate"), ESTIMATE | {"wavelength_nm": 592.0}, TWO_WAVELENGTHS),
        (("simulate", "--out", "made.ome.tif", "--waves"), SIDECAR | {"wavelength_nm": 592.0}, TWO_WAVELENGTHS),
    ],
)
def test_a_wavefront_of_another_kind_is_refused(run, tmp_path, command, content, words):
    (tmp_path / "found.json").write_text(json.dumps(content))
    run(*command, "found.json").assert_refused("found.json", *words)


@pytest.mark.parametrize(("option", "content", "sign"), [("--waves", SIDECAR, 1), ("--estimate", ESTIMATE, -1)])
def test_a_wavefront_of_the_right_kind_is_taken(run, tmp_path, option, content, sign):
    (tmp_path / "found.json").write_text(json.dumps(content | {"wavelength_nm": 775.0}))
    assert run("mask", "--out", "made.bmp", option, "found.json").code == 0
    sidecar = json.loads((tmp_path / "made.json").read_text())
    assert dict(zip(map(tuple, sidecar["modes"]), sidecar["waves"], strict=True))[2, 2] == sign * 0.1


def test_a_correction_in_peak_waves_is_another_mask_than_one_in_rms_waves(run, tmp_path):
    for unit in ("rms waves", "peak waves"):
        (tmp_path / "found.json").write_text(json.dumps(SIDECAR | {"unit": unit}))
        assert run("mask", "--out", f"{unit[:3]}.bmp", "--waves", "found.json").code == 0
    rms, peak = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("rms", "pea"))
    assert max(peak["waves"]) == pytest.approx(0.1 / np.sqrt(6))
    assert rms["sha256"] != peak["sha256"]


def test_files_with_a_byte_order_mark_are_read(run, tmp_path):
    for name, text in {
        "my.toml": "[bead]\ndiameter_nm = 60\n",
        "found.json": json.dumps(SIDECAR),
        "train.toml": "epochs = -1\n",
        "origin.txt": "{}",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert run("mask", "--out", "made.bmp", "--setup", "my.toml", "--waves", "found.json").code == 0
    run("dataset", "--out", "made.h5", "--config", "train.toml").assert_refused("train.toml: epochs = -1")
    run("init", "made.toml", "--from-dict", "origin.txt").assert_refused("the dict 'optical_params_sted' is missing")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("simulate", "--out", "made.ome.tif", "--photons", "1e300"), ("--photons", "10000000")),
        (("simulate", "--out", "made.ome.tif", "--photons", "nan"), ("--photons", "10000000")),
        (("simulate", "--out", "made.ome.tif", "--peak-waves", "nan"), ("--peak-waves", "equal to 1")),
        (("simulate", "--out", "made.ome.tif", "--off-center-nm", "nan"), ("--off-center-nm", "2000")),
        (("simulate", "--out", "made.ome.tif", "--seed", 10**12), ("--seed", "4294967295")),
        (("align", "--seed", 10**30), ("--seed", "4294967295")),
        (("dataset", "--out", "made.h5", "--samples", 10**12), ("--samples", "10000000")),
        (("evaluate", "--fit", 10**12), ("--fit", "10000000")),
        (("evaluate", "--mismatch", 10**12), ("--mismatch", "10000000")),
        (("evaluate", "--limit", 10**12), ("--limit", "10000000")),
        (("evaluate", "--photons", "1e300"), ("--photons", "10000000")),
        (("evaluate", "--background", "1e300"), ("--background", "equal to 10")),
        (("benchmark", "bound", "--wavefronts", 10**12), ("--wavefronts", "1000")),
        (("benchmark", "bound", "--strength", "nan"), ("strength", "500")),
        (("benchmark", "bound", "--photons", "inf"), ("--photons", "10000000")),
        (("train", "train.toml", "--epochs", 10**12), ("--epochs", "100000")),
        (("train", "train.toml", "--nodes", 10**12), ("--nodes", "10000")),
        (("train", "train.toml", "--devices", "1" * 5000), ("--devices", "from 1 to 9999")),
    ],
    ids=lambda part: " ".join(map(str, part))[:60],
)
def test_an_option_far_out_of_range_is_refused_with_the_range(run, command, words):
    run(*command).assert_refused(*words)


def test_a_correction_of_an_estimate_is_its_negative(run, tmp_path):
    (tmp_path / "estimate.json").write_text(json.dumps({"modes": [[2, 2], [3, 1]], "waves": [0.1, -0.05]}))
    assert run("mask", "--out", "made.png", "--estimate", "estimate.json").code == 0
    sidecar = json.loads((tmp_path / "made.json").read_text())
    found = {tuple(mode): value for mode, value in zip(sidecar["modes"], sidecar["waves"], strict=True)}
    assert found[2, 2] == -0.1
    assert found[3, 1] == 0.05
    assert np.count_nonzero(list(found.values())) == 2


def test_both_beams_show_the_same_sections(run):
    outcome = run("estimate", "--xy", "a.tif", "--xz", "b.tif", "--excitation-xy", "c.tif")
    outcome.assert_refused("the excitation beam needs the same sections")
