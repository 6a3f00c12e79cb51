"""The job that estimates the files of both beams of one scan: what it reads, writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import run_in

import stedalign as sa
from stedalign.errors import InputError
from stedalign.estimation.checks import Limits
from stedalign.formats.stored import StackError
from stedalign.imaging.detector import Bead, Detector
from stedalign.imaging.images import PLANES, Sampling
from stedalign.jobs.two_beams import estimate_both_beams, estimate_files_of_both_beams
from stedalign.simulator.hidden import HiddenExcitation, HiddenWorld
from stedalign.simulator.instrument import Instrument
from stedalign.simulator.microscope import build

NM = (90.0, 90.0, 90.0)
SETUP = sa.Setup(
    sampling=Sampling(samples=24, pixel_nm=NM), bead=Bead(diameter_nm=0.0), detector=Detector(photons=2000.0)
)
WAVEFRONT = sa.Wavefront.from_peak_waves(SETUP.modes, np.linspace(-0.06, 0.06, len(SETUP.modes)))
APART_NM = (20.0, -30.0, 50.0)
FILES = {
    *("setup.toml", "environment.json", "estimate.json", "depletion.png", "excitation.png"),
    *("mask.bmp", "mask.png", "mask.json", "overlaid.bmp", "overlaid.json"),
}


@pytest.fixture(scope="module")
def images():
    excitation = HiddenExcitation(displacement_nm=APART_NM)
    microscope = build(Instrument.of(SETUP), HiddenWorld(aberration=WAVEFRONT, excitation=excitation), 1)
    microscope.shutter.open()
    return microscope.source.acquire(), microscope.excitation.acquire()


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    for beam, image in zip(("d", "e"), images, strict=True):
        for name, section in zip(PLANES, image.data, strict=True):
            np.save(folder / f"{beam}_{name}.npy", section.astype(np.uint16))
    (folder / "setup.toml").write_text(SETUP.to_toml(), encoding="utf-8")
    return folder


def files(folder, beam, planes=PLANES):
    return {name: folder / f"{beam}_{name}.npy" for name in planes}


@pytest.fixture(scope="module")
def saved(folder):
    return estimate_files_of_both_beams(
        files(folder, "d"), files(folder, "e"), SETUP, folder / "run", pixel_nm=NM, network=None
    )


def test_it_writes_estimate_pictures_and_both_masks(saved):
    assert {path.name for path in saved.run_folder.iterdir()} == FILES
    told = json.loads((saved.run_folder / "estimate.json").read_text(encoding="utf-8"))
    assert told["excitation"]["accepted"] is told["accepted"] is True
    np.testing.assert_allclose(told["overlay"]["foci_apart_nm"], APART_NM, atol=10)
    assert isinstance(told["diagnosis"], list)
    assert isinstance(told["excitation"]["diagnosis"], list)


def test_the_second_mask_is_the_first_with_the_centering(saved):
    first, second = (json.loads((saved.run_folder / name).read_text()) for name in ("mask.json", "overlaid.json"))
    both = sa.Wavefront.from_json(first) + saved.both.overlay.centering
    np.testing.assert_allclose(sa.Wavefront.from_json(second).on(both.modes).array, both.array, atol=1e-9)


def test_sections_of_another_size_are_of_another_scan(folder, tmp_path):
    larger = tmp_path / "larger.npy"
    np.save(larger, np.pad(np.load(folder / "e_xz.npy"), 2, mode="edge"))
    with pytest.raises(StackError, match=r"not of one scan with .*d_xz.npy: 28 x 28 pixels, not 24 x 24"):
        estimate_files_of_both_beams(
            files(folder, "d"), files(folder, "e") | {"xz": larger}, SETUP, tmp_path / "run", pixel_nm=NM
        )
    assert not (tmp_path / "run").exists()


def test_other_sections_are_refused(folder, tmp_path):
    with pytest.raises(StackError, match="both beams must show the same sections, got xy, xz, yz by one and xy by"):
        estimate_files_of_both_beams(
            files(folder, "d"), files(folder, "e", ["xy"]), SETUP, tmp_path / "run", pixel_nm=NM
        )


def test_pixels_too_wide_for_the_light_are_refused_before_any_model_is_planned(images):
    wide = [sa.OrthoSections(image.data, (500.0,) * 3) for image in images]
    with pytest.raises(InputError, match=r"pixels of 500 nm along . show nothing"):
        estimate_both_beams(*wide, SETUP)


def test_the_command_tells_spot_minus_zero(folder):
    options = [f"--{name}={folder / f'd_{name}.npy'}" for name in PLANES]
    options += [f"--excitation-{name}={folder / f'e_{name}.npy'}" for name in PLANES]
    outcome = run_in(
        folder, "estimate", *options, "--setup", "setup.toml", "--pixel-nm", *NM, "--no-network", "--out", "b"
    )
    assert outcome.code == 0
    assert "spot minus zero x +" in outcome.out
    assert "by the depletion beam" in outcome.out


def test_a_refused_beam_is_named_and_leaves_no_mask(folder, tmp_path):
    demanding = SETUP.model_copy(update={"limits": Limits(max_sigma_waves=1e-4)})
    saved = estimate_files_of_both_beams(
        files(folder, "d"), files(folder, "e"), demanding, tmp_path / "run", pixel_nm=NM, network=None
    )
    assert saved.objection().startswith("depletion beam: the image is too dim")
    assert saved.both.overlay is None
    assert saved.mask is saved.overlaid_mask is None
    assert not list((tmp_path / "run").glob("*.bmp"))


def test_exchanged_images_are_told_before_any_fit(folder, tmp_path):
    with pytest.raises(InputError, match="the images look exchanged"):
        estimate_files_of_both_beams(files(folder, "e"), files(folder, "d"), SETUP, tmp_path / "run", pixel_nm=NM)
