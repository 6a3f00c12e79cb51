from contextlib import chdir

import numpy as np
import pytest
import torch
from PIL import Image

import stedalign as sa
from stedalign.config import Setup
from stedalign.focusing.focus import Focus
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.optics.beam import Beam
from stedalign.optics.objective import Objective
from stedalign.optics.patterns import Flat, MaskFile, Vortex
from stedalign.optics.polarization import Polarization
from stedalign.optics.targets import section
from stedalign.optics.wavefront import ModeSet
from stedalign.spec import SpecError

MODES = ModeSet.of([(2, 2)])
SECTIONS = [section("yx", (20, 20), (50, 50)), section("zx", (20, 20), (60, 50))]
FLAT = Flat()


def grid(samples):
    """x and y (samples, samples) of a map's samples; row 0 at the smallest y."""
    axis = (np.arange(samples) + 0.5) / samples * 2 - 1
    return np.meshgrid(axis, axis)


def spiral(samples=512):
    x, y = grid(samples)
    return np.arctan2(y, x)


def saved(path, values):
    np.save(path, values)
    return str(path)


def intensity(beam, tolerance=1e-3):
    focus = Focus(Objective(), beam, MODES, SECTIONS, tolerance=tolerance, strength_waves=0.1).double()
    parameters = focus.rest.clone()
    parameters[0] = 0.05
    return torch.cat(focus(parameters[None]), dim=1)[0].numpy() / float(focus.scale)


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_a_spiral_from_a_file_is_the_vortex(tmp_path):
    mask = MaskFile(file=saved(tmp_path / "vortex.npy", spiral()))
    assert distance(intensity(Beam(pattern=mask)), intensity(Beam())) < 1e-3


@pytest.mark.parametrize(
    ("levels", "depth", "name"),
    [
        (256, np.uint8, "mask.png"),
        (256, np.uint8, "mask.bmp"),
        (200, np.uint8, "mask.png"),
        (4096, np.uint16, "mask.png"),
    ],
)
def test_a_gray_image_of_a_spiral_is_the_vortex(tmp_path, levels, depth, name):
    gray = np.floor(np.mod(spiral(), 2 * np.pi) / (2 * np.pi) * levels).astype(depth)
    Image.fromarray(gray).save(tmp_path / name)
    mask = MaskFile(file=str(tmp_path / name), levels_per_2pi=levels)
    assert distance(intensity(Beam(pattern=mask)), intensity(Beam())) < 5e-3


def test_whole_waves_of_phase_change_nothing(tmp_path):
    x, y = grid(128)
    waves = np.round(3 * np.sin(40 * x * y))
    plain, jumping = (
        intensity(Beam(pattern=MaskFile(file=saved(tmp_path / name, phase))))
        for name, phase in {"plain.npy": spiral(128), "jumping.npy": spiral(128) + 2 * np.pi * waves}.items()
    )
    np.testing.assert_allclose(jumping, plain, atol=1e-6 * plain.max())


def gentle(x, y):
    """A mask without symmetry, core or step, defined beyond the pupil too."""
    return 2 * x**2 - 1.5 * y + x * y + np.sin(2 * x - y)


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"mask_offset": (0.2, -0.1)},
        {"mask_scale": 1.4},
        {"mask_rotation_deg": 35.0},
        {"mask_offset": (0.1, 0.2), "mask_scale": 1.6, "mask_rotation_deg": -110.0},
    ],
    ids=str,
)
def test_a_mask_file_sits_on_the_pupil_as_told(tmp_path, place):
    x, y = grid(512)
    mask = MaskFile(file=saved(tmp_path / "mask.npy", gentle(x, y)), **place)
    # The same by hand: a file that already holds what the pupil sees, which the map's edge does not cut.
    u, v = x - mask.mask_offset[0], y - mask.mask_offset[1]
    turn = np.deg2rad(mask.mask_rotation_deg)
    along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    edge = 1 - 1 / 512
    seen = gentle(*(np.clip(part / mask.mask_scale, -edge, edge) for part in (along, across)))
    by_hand = MaskFile(file=saved(tmp_path / "seen.npy", seen))
    assert distance(intensity(Beam(pattern=mask)), intensity(Beam(pattern=by_hand))) < 2e-3


def test_an_offset_spiral_from_a_file_is_the_offset_vortex(tmp_path):
    place = {"mask_offset": (0.2, -0.1), "mask_rotation_deg": 40.0, "mask_scale": 1.3}
    mask = MaskFile(file=saved(tmp_path / "vortex.npy", spiral()), **place)
    assert (
        distance(intensity(Beam(pattern=mask)), intensity(Beam(pattern=Vortex(mask_offset=place["mask_offset"]))))
        < 1e-3
    )


def test_a_map_of_constant_circular_light_is_uniform_polarization(tmp_path):
    circular = np.ones((2, 16, 16)) * np.array([3, 3j])[:, None, None]
    light = Polarization(kind="file", file=saved(tmp_path / "jones.npy", circular))
    assert distance(intensity(Beam(polarization=light), 1e-5), intensity(Beam(), 1e-5)) < 1e-6


@pytest.mark.parametrize("kind", ["radial", "azimuthal"])
def test_a_map_of_a_vector_beam_is_that_beam(tmp_path, kind):
    x, y = grid(512) / np.hypot(*grid(512))
    vectors = np.stack([x, y] if kind == "radial" else [-y, x])
    light = Polarization(kind="file", file=saved(tmp_path / "jones.npy", vectors))
    found, expected = (intensity(Beam(pattern=FLAT, polarization=part)) for part in (light, Polarization(kind=kind)))
    assert distance(found, expected) < 1e-3


def damaged_phases():
    x, y = grid(16)
    hole = np.where(x + y > 1.8, np.nan, 0.0)
    return {
        "a map that is not square": (np.zeros((16, 12)), r"has the shape \(16, 12\); \(N, N\)"),
        "a stack of maps": (np.zeros((2, 16, 16)), r"has the shape \(2, 16, 16\); \(N, N\)"),
        "a map that is too small": (np.zeros((4, 4)), "N from 8"),
        "a single number": (np.zeros(()), "has the shape"),
        "a hole": (hole, "not finite"),
        "complex phases": (np.zeros((16, 16), complex), "must hold real numbers"),
        "words": (np.full((16, 16), "pi"), "not finite numbers"),
    }


@pytest.mark.parametrize("name", damaged_phases())
def test_a_phase_mask_that_is_none_is_refused_in_one_line(tmp_path, name):
    values, message = damaged_phases()[name]
    mask = MaskFile(file=saved(tmp_path / "mask.npy", values))
    with pytest.raises(ValueError, match=message) as caught:
        intensity(Beam(pattern=mask))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 16, 16)), "leaves the pupil dark"),
        (np.zeros((16, 16)), r"has the shape \(16, 16\); \(2, N, N\)"),
        (np.full((2, 16, 16), np.inf), "not finite"),
        (np.full((2, 16, 16), "x"), "no .npy array of numbers|not finite numbers"),
    ],
)
def test_a_polarization_map_that_is_none_is_refused_in_one_line(tmp_path, values, message):
    light = Polarization(kind="file", file=saved(tmp_path / "jones.npy", values))
    with pytest.raises(ValueError, match=message) as caught:
        intensity(Beam(polarization=light))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mask.png", b"no image", "neither an image nor an .npy array"),
        ("mask.npy", b"no array", "no .npy array of numbers"),
        ("mask.npy", b"", "no .npy array of numbers"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    mask = MaskFile(file=str(tmp_path / name))
    with pytest.raises(ValueError, match=message):
        intensity(Beam(pattern=mask))


@pytest.mark.parametrize("spec", [MaskFile, Polarization])
def test_a_missing_file_is_refused_when_it_is_named(tmp_path, spec):
    with pytest.raises(ValueError, match=r"cannot read the map .*nowhere.npy.*No such file"):
        spec(kind="file", file=str(tmp_path / "nowhere.npy"))
    with pytest.raises(ValueError, match=r'needs? both kind = "file" and file'):
        spec(kind="file")


def test_a_polarization_map_that_nothing_uses_is_refused(tmp_path):
    with pytest.raises(ValueError, match='needs both kind = "file" and file'):
        Polarization(file=str(tmp_path / "nowhere.npy"))


def test_a_file_that_changed_after_it_was_named_is_refused(tmp_path):
    mask = MaskFile(file=saved(tmp_path / "mask.npy", spiral(64)))
    saved(tmp_path / "mask.npy", -spiral(64))
    with pytest.raises(ValueError, match="its content has changed"):
        intensity(Beam(pattern=mask))


SETUP = """\
[sampling]
samples = 16
pixel_nm = [60.0, 60.0, 60.0]
[depletion.pattern]
kind = "file"
file = "masks/mask.npy"
[depletion.overlay.polarization]
kind = "file"
file = "jones.npy"
"""


@pytest.fixture
def folder(tmp_path):
    """A setup with its maps beside it."""
    folder = tmp_path / "microscope"
    (folder / "masks").mkdir(parents=True)
    saved(folder / "masks" / "mask.npy", spiral(64))
    saved(folder / "jones.npy", np.ones((2, 16, 16)) * np.array([1, 1j])[:, None, None])
    (folder / "my.toml").write_text(SETUP)
    return folder


def test_a_setup_finds_its_maps_beside_itself_from_any_folder(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with chdir(tmp_path):
        setup = Setup.load("microscope/my.toml")
    with chdir(tmp_path / "elsewhere"):
        wavefront = sa.Wavefront.zero(MODES)
        found = sa.focus(setup, wavefront, tolerance=1e-3).data
        # Written out and read again, the maps are found where they were.
        (tmp_path / "elsewhere" / "again.toml").write_text(setup.to_toml())
        again = Setup.load("again.toml")
    assert found.max() == pytest.approx(1, abs=1e-3)
    assert again == setup


def test_a_setup_whose_map_is_missing_tells_file_and_map(folder):
    (folder / "jones.npy").unlink()
    with pytest.raises(SpecError, match=r"my.toml: cannot read the map .*jones.npy") as caught:
        Setup.load(folder / "my.toml")
    assert "\n" not in str(caught.value)


def test_the_hash_of_an_image_depends_on_the_content_of_a_map_not_on_its_place(folder, tmp_path):
    before = Setup.load(folder / "my.toml").forward.hash
    folder = folder.rename(tmp_path / "moved")
    assert Setup.load(folder / "my.toml").forward.hash == before
    saved(folder / "jones.npy", np.ones((2, 16, 16)) * np.array([1, -1j])[:, None, None])
    turned = Setup.load(folder / "my.toml").forward.hash
    saved(folder / "masks" / "mask.npy", -spiral(64))
    flipped = Setup.load(folder / "my.toml").forward.hash
    assert len({before, turned, flipped, ForwardSpec().hash}) == 4
