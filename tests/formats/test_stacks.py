import errno

import numpy as np
import pytest
import tifffile
import torch

from stedalign import formats
from stedalign.focusing.focus import Focus
from stedalign.formats.ome_tiff import save_sections, save_volume
from stedalign.formats.selection import Selection
from stedalign.formats.stack import load_sections, load_stack
from stedalign.formats.stored import StackError
from stedalign.imaging.detector import Bead
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import FocalSection, OrthoSections, Volume
from stedalign.optics.beam import Beam
from stedalign.optics.patterns import pattern_class
from stedalign.optics.targets import section
from stedalign.optics.wavefront import ModeSet

NM = (31.25, 31.25, 50.0)


@pytest.fixture
def sections():
    counts = np.random.default_rng(0).poisson(20.0, size=(3, 16, 16)).astype(float)
    return OrthoSections(counts, NM, simulated=True)


def blob(shape, center):
    grids = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    return 1000 * np.exp(-sum((g - c) ** 2 for g, c in zip(grids, center, strict=True)) / 8) + 5


def test_sections_come_back_from_ome_tiff_with_pixel_sizes_and_whether_simulated(tmp_path, sections):
    save_sections(tmp_path / "a.ome.tif", sections)
    again = load_stack(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(again.data, sections.data)
    assert again.pixel_nm == NM
    assert again.simulated


def test_counts_that_are_not_whole_are_kept_as_floats(tmp_path):
    data = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    save_sections(tmp_path / "a.ome.tif", OrthoSections(data, NM))
    np.testing.assert_array_equal(load_stack(tmp_path / "a.ome.tif").data, data)


def test_a_volume_is_cut_through_its_bead(tmp_path):
    volume = blob((30, 40, 50), (14, 22, 27)).astype(np.uint16)
    save_volume(tmp_path / "v.ome.tif", volume, NM)
    found = load_stack(tmp_path / "v.ome.tif", samples=16)
    assert found.data.shape == (3, 15, 15)
    assert found.pixel_nm == NM
    for plane in found.data:
        assert np.unravel_index(plane.argmax(), plane.shape) == (7, 7)


def test_the_sections_of_a_volume_are_as_large_as_fit_around_the_bead(tmp_path):
    save_volume(tmp_path / "v.ome.tif", blob((30, 40, 50), (10, 22, 27)).astype(np.uint16), NM)
    assert load_stack(tmp_path / "v.ome.tif").data.shape == (3, 21, 21)


def ring(shape, center, radius):
    z, y, x = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    across = np.hypot(y - center[1], x - center[2]) - radius
    return 1000 * np.exp(-(across**2) / 4 - (z - center[0]) ** 2 / 30)


def test_two_beads_in_a_volume_are_refused(tmp_path):
    shape = (30, 30, 70)
    save_volume(tmp_path / "v.ome.tif", ring(shape, (14, 15, 17), 6) + 0.8 * ring(shape, (14, 15, 52), 6), NM)
    with pytest.raises(StackError, match="two beads: crop the volume to one"):
        load_stack(tmp_path / "v.ome.tif")


def test_a_much_fainter_bead_does_not_move_the_cut(tmp_path):
    shape = (30, 30, 70)
    volume = np.round(ring(shape, (14, 15, 17), 6) + 0.4 * ring(shape, (14, 15, 52), 6))
    save_volume(tmp_path / "v.ome.tif", volume, NM)
    np.testing.assert_array_equal(load_stack(tmp_path / "v.ome.tif").data[1], volume[0:29, 15, 3:32])


def test_a_donut_in_pieces_is_one_bead(tmp_path):
    shape = (31, 41, 41)
    volume = blob(shape, (15, 20, 14)) + blob(shape, (15, 20, 26))
    save_volume(tmp_path / "lobes.ome.tif", volume.astype(np.uint16), NM)
    np.testing.assert_array_equal(
        load_stack(tmp_path / "lobes.ome.tif").data[0], volume.astype(np.uint16)[15, 5:36, 5:36]
    )


@pytest.mark.parametrize("kind", ["vortex", "top_hat", "half_moon", "bivortex"])
def test_each_pattern_s_focus_is_one_bead(tmp_path, kind):
    spec = ForwardSpec(beam=Beam(pattern=pattern_class(kind)()), bead=Bead(diameter_nm=0.0))
    focus = Focus(
        spec.objective,
        spec.beam,
        ModeSet.of([(2, 2)]),
        [section("zyx", (21, 11, 11), (110.0, 110.0, 110.0))],
        bead_diameter_nm=0.0,
        tolerance=1e-2,
        strength_waves=0.02,
    )
    volume = focus(torch.zeros(1, 4))[0].reshape(21, 11, 11).numpy()
    save_volume(tmp_path / "v.ome.tif", volume, (110.0, 110.0, 110.0))
    assert load_stack(tmp_path / "v.ome.tif").data.shape[1] >= 9


def test_npy_needs_pixel_sizes_from_the_user(tmp_path, sections):
    np.save(tmp_path / "a.npy", sections.data)
    with pytest.raises(StackError, match="pixel sizes"):
        load_stack(tmp_path / "a.npy")
    np.testing.assert_array_equal(load_stack(tmp_path / "a.npy", pixel_nm=NM).data, sections.data)


def test_the_users_pixel_sizes_win_over_the_files(tmp_path, sections):
    save_sections(tmp_path / "a.ome.tif", sections)
    assert load_stack(tmp_path / "a.ome.tif", pixel_nm=(1.0, 2.0, 3.0)).pixel_nm == (1.0, 2.0, 3.0)


def test_a_tiff_without_metadata_is_read_with_given_axes_and_pixel_sizes(tmp_path, sections):
    tifffile.imwrite(tmp_path / "plain.tif", sections.data.astype(np.uint8), photometric="minisblack")
    found = load_stack(tmp_path / "plain.tif", pixel_nm=NM, selection=Selection(axes="sections"))
    assert found.saturation == 255


@pytest.mark.parametrize("length", [0, 4, 200, 900])
def test_a_truncated_tiff_is_one_clear_error(tmp_path, sections, length):
    save_sections(tmp_path / "a.ome.tif", sections)
    whole = (tmp_path / "a.ome.tif").read_bytes()
    (tmp_path / "a.ome.tif").write_bytes(whole[:length])
    with pytest.raises(StackError, match="not a readable TIFF"):
        load_stack(tmp_path / "a.ome.tif")


def test_a_failed_write_leaves_the_former_file_alone(tmp_path, sections, monkeypatch):
    path = tmp_path / "a.ome.tif"
    save_sections(path, sections)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(OSError, match="disk full"):
        save_sections(path, sections)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.ome.tif"]


def test_an_image_of_one_plane_is_an_xy_section(tmp_path):
    np.save(tmp_path / "xy.npy", np.arange(20 * 24).reshape(20, 24))
    found = load_stack(tmp_path / "xy.npy", pixel_nm=NM)
    assert isinstance(found, FocalSection)
    assert found.data.shape == (20, 24)


def test_a_plane_needs_no_step_along_z(tmp_path):
    metadata = {"axes": "YX", "PhysicalSizeX": 20.0, "PhysicalSizeXUnit": "nm"}
    metadata |= {"PhysicalSizeY": 25.0, "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(tmp_path / "xy.ome.tif", np.zeros((20, 24), np.uint16), ome=True, metadata=metadata)
    assert load_stack(tmp_path / "xy.ome.tif").pixel_nm[:2] == (20.0, 25.0)


def test_the_whole_volume_is_cropped_evenly_around_its_bead(tmp_path):
    z, y, x = np.indices((30, 40, 50))
    volume = np.round(100 * np.exp(-((z - 14) ** 2 + (y - 22) ** 2 + (x - 20) ** 2) / 18))
    save_volume(tmp_path / "v.ome.tif", volume, NM)
    found = load_stack(tmp_path / "v.ome.tif", whole=True)
    assert isinstance(found, Volume)
    np.testing.assert_array_equal(found.data, volume[0:28, 6:38, 0:40])


SCRATCH = """
import numpy as np
from stedalign.formats.stored import ImageStack, Stored

SUFFIXES = (".scratch",)


def read(path):
    side = int(path.read_text())

    def pixels():
        return np.arange(side * side).reshape(side, side)

    nm = {"X": 20.0, "Y": 20.0}
    return Stored([ImageStack("YX", (side, side), np.dtype(int), pixels, pixel_nm=nm, simulated=True)])
"""


def test_a_format_takes_one_file(tmp_path, monkeypatch):
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "scratch.py").write_text(SCRATCH)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path / "formats")])
    (tmp_path / "bead.SCRATCH").write_text("12")
    found = load_stack(tmp_path / "bead.SCRATCH")
    assert isinstance(found, FocalSection)
    assert found.data.shape == (12, 12)
    assert (found.pixel_nm, found.simulated) == ((20.0, 20.0, 20.0), True)


def test_a_disk_that_fails_is_not_called_a_bad_image(tmp_path, sections, monkeypatch):
    save_sections(tmp_path / "a.ome.tif", sections)

    def fail(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr("stedalign.formats.tiff.read", fail)
    with pytest.raises(OSError, match="Input/output error"):
        load_stack(tmp_path / "a.ome.tif")


def save_section(path, data, pixel_nm):
    """An OME-TIFF whose X and Y are the columns and rows of ``data``."""
    metadata = {"axes": "YX"}
    for axis, size in zip("XY", pixel_nm, strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    tifffile.imwrite(path, data, ome=True, photometric="minisblack", metadata=metadata)
    return path


def test_sections_of_files_of_their_own_have_the_pixels_of_their_axes(tmp_path):
    xy, xz = np.arange(20 * 24, dtype=np.uint16).reshape(20, 24), np.arange(30 * 24, dtype=np.int16).reshape(30, 24)
    files = {
        "xz": save_section(tmp_path / "xz.ome.tif", xz, (20.0, 50.0)),
        "xy": save_section(tmp_path / "xy.ome.tif", xy, (20.0, 25.0)),
    }
    found = load_sections(files)
    assert (found.parts, found.pixel_nm, found.saturation) == (("xy", "xz"), (20.0, 25.0, 50.0), 32767)
    for part, name, data in zip(found.data, ("xy", "xz"), (xy, xz), strict=True):
        np.testing.assert_array_equal(part[found.imaged(name)], data)


def test_the_users_pixel_sizes_go_to_the_axes_of_each_section(tmp_path):
    for name in ("xz", "yz"):
        np.save(tmp_path / f"{name}.npy", np.zeros((16, 20)))
    files = {name: tmp_path / f"{name}.npy" for name in ("xz", "yz")}
    assert load_sections(files, pixel_nm=(20.0, 25.0, 50.0)).pixel_nm == (20.0, 25.0, 50.0)
    with pytest.raises(StackError, match=r"xz\.npy: the file does not tell its pixel sizes"):
        load_sections(files)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({}, "sections xy, xz or yz are expected, got none"),
        ({"zx": (16, 16)}, "sections xy, xz or yz are expected, got zx"),
        (
            {"xz": (3, 16, 16)},
            r"xz\.npy: a file with the xz section alone is expected, got the shape",
        ),
        ({"xy": (7, 16)}, "xy: a section of at least 8 pixels"),
    ],
)
def test_what_are_no_sections_is_refused(tmp_path, sections, words):
    for name, shape in sections.items():
        np.save(tmp_path / f"{name}.npy", np.zeros(shape, np.uint16))
    with pytest.raises(StackError, match=words):
        load_sections({name: tmp_path / f"{name}.npy" for name in sections}, pixel_nm=NM)


def test_sections_may_have_other_pixels_along_a_shared_axis(tmp_path):
    files = {
        "xy": save_section(tmp_path / "xy.ome.tif", np.zeros((16, 16), np.uint16), (20.0, 20.0)),
        "xz": save_section(tmp_path / "xz.ome.tif", np.zeros((16, 16), np.uint16), (25.0, 20.0)),
    }
    assert load_sections(files).part_pixel_nm == ((20.0, 20.0), (20.0, 25.0))


@pytest.mark.parametrize("shape", [(300, 400), (3, 300, 300)])
def test_large_sections_are_cut_around_their_bead(tmp_path, shape):
    np.save(tmp_path / "a.npy", large(shape))
    found = load_stack(tmp_path / "a.npy", pixel_nm=(20.0,) * 3)
    assert type(found) is (FocalSection if len(shape) == 2 else OrthoSections)
    side = 120 if len(shape) == 2 else 160
    assert found.counts.shape[1:] == (side, side)
    for part in found.counts:
        assert np.unravel_index(part.argmax(), part.shape) == pytest.approx((side / 2, side / 2), abs=1)


def large(shape):
    """A spot beside the middle of each section."""
    rows, columns = np.indices(shape[-2:])
    spot = np.round(500 * np.exp(-((rows - 160) ** 2 + (columns - 160) ** 2) / 100))
    return np.broadcast_to(spot, shape)


def test_a_whole_volume_is_cut_to_what_a_bead_needs(tmp_path):
    z, y, x = np.indices((50, 60, 60))
    volume = np.round(100 * np.exp(-((z - 25) ** 2 + (y - 30) ** 2 + (x - 30) ** 2) / 8))
    save_volume(tmp_path / "v.ome.tif", volume, (100.0, 100.0, 100.0))
    assert load_stack(tmp_path / "v.ome.tif", whole=True).data.shape == (32, 24, 24)
