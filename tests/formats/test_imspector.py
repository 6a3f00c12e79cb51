"""Files of Imspector: by label, by name, with the microscope that wrote them; and those that lie about themselves."""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np
import pytest
from obf_file import Stack, write_obf

from stedalign.formats.selection import Selection
from stedalign.formats.stack import load_sections, load_stack, stored
from stedalign.formats.stored import StackError
from stedalign.imaging.images import FocalSection, OrthoSections, Sections

obffile = pytest.importorskip("obffile")
XY, XZ, YZ = (("ExpControl Y", "ExpControl X"), ("ExpControl Z", "ExpControl X"), ("ExpControl Z", "ExpControl Y"))
TREE = """<root><hwr><SLM_775><prop_driver>Hamamatsu SLM Driver</prop_driver><slm>
<twopi_gray_level>205</twopi_gray_level>
</slm><pattern_parameters><radius>0.42499999999999999 0.61</radius><aberration><coma_x>0.1</coma_x></aberration>
</pattern_parameters></SLM_775><ExpControl><devices><lasers><lasers><item><id>LAS3</id><name>STED_775</name>
<wavelength>7.7500000000000001e-07</wavelength></item></lasers></lasers></devices></ExpControl></hwr>
<doc><spec_version>16.3</spec_version><OlympusIX><light_path><objlens>100X_NA1.4_oil_UPLSAPO100XO</objlens></light_path>
</OlympusIX><Pinhole><size_used>5e-05</size_used><size_used_au>1</size_used_au></Pinhole><ExpControl><measurement><lasers>
<item><id>LAS3</id><power><calibrated>20</calibrated></power></item></lasers></measurement></ExpControl></doc></root>"""


def plane(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """A spot in the middle, in noise."""
    y, x = np.meshgrid(np.arange(rows) - rows / 2, np.arange(columns) - columns / 2, indexing="ij")
    spot = 500 * np.exp(-(x**2 + y**2) / 50)
    return np.random.default_rng(seed).poisson(spot + 20).astype(np.int16)


def image(
    name: str, labels: tuple[str, str], data: np.ndarray, nm: tuple[float, float] = (20.0, 20.0), **lies
) -> Stack:
    """As Imspector writes it: four axes, of which two have one pixel."""
    return Stack(data[None, None], ("None", "None", *labels), (1e9, 1e9, *nm), name, **lies)


def test_pixels_and_their_sizes_go_by_the_labels_of_the_axes(tmp_path):
    data = plane(24, 30)
    found = load_stack(write_obf(tmp_path / "a.obf", image("Ch1 {13}", XZ, data, (50.0, 20.0))))
    assert isinstance(found, Sections)
    assert (found.parts, found.pixel_nm[0], found.pixel_nm[2]) == (("xz",), pytest.approx(20), pytest.approx(50))
    np.testing.assert_array_equal(found.data[0], data)


@pytest.mark.parametrize("order", ["zyx", "xyz", "yzx"])
def test_a_volume_is_turned_to_z_y_x_whatever_its_order(tmp_path, order):
    z, y, x = np.indices((15, 17, 19))
    volume = np.round(900 * np.exp(-((z - 7) ** 2 + (y - 8) ** 2 + (x - 9) ** 2) / 12)).astype(np.int16)
    nm = {"z": 100.0, "y": 30.0, "x": 40.0}
    turned = np.ascontiguousarray(volume.transpose(["zyx".index(axis) for axis in order]))
    stack = Stack(turned, [f"ExpControl {axis.upper()}" for axis in order], [nm[axis] for axis in order])
    found = load_stack(write_obf(tmp_path / "a.msr", stack))
    assert isinstance(found, OrthoSections)
    assert found.pixel_nm == pytest.approx((40, 30, 100))
    np.testing.assert_array_equal(found.data[0], volume[7, 1:16, 2:17])


def test_stacks_of_the_three_planes_are_sections_of_one_bead(tmp_path):
    planes = {"xy": plane(40, 30, 1), "xz": plane(50, 30, 2), "yz": plane(50, 40, 3)}
    labels = {"xy": XY, "xz": XZ, "yz": YZ}
    stacks = [image(f"ExpControl Ch1 {{{at}}}", labels[name], data) for at, (name, data) in enumerate(planes.items())]
    found = load_stack(write_obf(tmp_path / "a.msr", *stacks[::-1]))
    assert isinstance(found, Sections)
    for part, (name, data) in zip(found.data, planes.items(), strict=True):
        np.testing.assert_array_equal(part[found.imaged(name)], data)


@pytest.mark.parametrize("options", [{"whole": True}, {"selection": Selection(axes="YX")}])
def test_planes_of_one_bead_are_neither_a_volume_nor_labeled_otherwise(tmp_path, options):
    path = write_obf(tmp_path / "a.msr", image("Ch1 {1}", XY, plane(40, 40)), image("Ch1 {2}", XZ, plane(40, 40)))
    assert load_stack(path).view.parts == ("xy", "xz")
    with pytest.raises(StackError, match="more than one stack could be meant"):
        load_stack(path, **options)


@pytest.fixture
def two_beams(tmp_path):
    """Two channels of the same scans, and an overview."""
    stacks = [
        image(f"ExpControl Ch{channel} {{{at}}}", labels, plane(40, 40, 10 * channel + at))
        for at, labels in ((1, XY), (13, XZ))
        for channel in (1, 2)
    ]
    return write_obf(tmp_path / "scan.msr", *stacks, image("ExpControl Ch1 {0}", XY, plane(60, 60), (50.0, 50.0)))


def test_more_than_one_stack_of_a_plane_is_listed_with_the_options_that_choose(two_beams):
    with pytest.raises(
        StackError, match=r"more than one .*0 \"ExpControl Ch1 \{1\}\" YX 40 x 40.* --stack NAME"
    ) as caught:
        load_stack(two_beams)
    assert len(str(caught.value)) - len(str(two_beams)) < 350


@pytest.mark.parametrize(
    ("choice", "seed"),
    [
        ({"stack": "ExpControl Ch2 {1}"}, 21),
        ({"series": 0}, 11),
        ({"channel": "Ch2", "stack": "ExpControl Ch2 {1}"}, 21),
    ],
)
def test_a_stack_is_chosen_by_name_or_number(two_beams, choice, seed):
    found = load_stack(two_beams, selection=Selection(**choice))
    assert isinstance(found, FocalSection)
    np.testing.assert_array_equal(found.data, plane(40, 40, seed))


def test_a_channel_is_that_of_its_stacks(two_beams):
    found = load_stack(two_beams, selection=Selection(channel="Ch2"))
    assert found.view.parts == ("xy", "xz")
    np.testing.assert_array_equal(found.counts[1], plane(40, 40, 33))


def test_sections_are_named_stacks_of_one_file(two_beams):
    files = {"xy": f"{two_beams}::ExpControl Ch1 {{1}}", "xz": f"{two_beams}::ExpControl Ch1 {{13}}"}
    np.testing.assert_array_equal(load_sections(files).counts[1], plane(40, 40, 23))
    with pytest.raises(StackError, match="its axes are labeled yx, not zx as of xz"):
        load_sections({"xz": files["xy"]})
    with pytest.raises(StackError, match="there is no stack 'Ch9'"):
        load_sections({"xz": f"{two_beams}::Ch9"})


def test_two_stacks_of_one_name_are_both_there(tmp_path):
    path = write_obf(tmp_path / "a.obf", image("Ch1", XY, plane(20, 20, 1)), image("Ch1", XY, plane(20, 20, 2)))
    np.testing.assert_array_equal(load_stack(path, selection=Selection(series=0)).data, plane(20, 20, 1))


def test_pixels_written_in_pieces_come_together(tmp_path):
    stack = image("Ch1 {0}", XY, plane(40, 30), pieces=3)
    path = write_obf(tmp_path / "a.obf", stack)
    np.testing.assert_array_equal(load_stack(path).data, plane(40, 30))
    with obffile.ObfFile(path) as file:
        np.testing.assert_array_equal(file.stacks[0].asarray(), plane(40, 30))


def test_the_tree_of_parameters_tells_of_the_microscope(tmp_path):
    facts = stored(write_obf(tmp_path / "a.msr", image("Ch1 {0}", XY, plane(20, 20), tree=TREE))).facts
    assert (facts.objective, facts.na, facts.immersion) == ("100X_NA1.4_oil_UPLSAPO100XO", 1.4, "oil")
    assert (facts.pinhole_um, facts.pinhole_airy, facts.software) == (pytest.approx(50), 1, "Imspector 16.3")
    (laser,) = facts.lasers
    assert (laser.name, laser.wavelength_nm, laser.power_percent) == ("STED_775", pytest.approx(775), 20)
    assert facts.slm == {
        "slm/twopi_gray_level": "205",
        "pattern_parameters/radius": "0.425 0.61",
        "pattern_parameters/aberration/coma_x": "0.1",
    }


def test_without_the_extra_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "obffile", None)
    with pytest.raises(StackError, match=r'pip install "stedalign\[imspector\]"'):
        load_stack(write_obf(tmp_path / "a.obf", image("Ch1", XY, plane(20, 20))))


LIES = {
    "more pixels than follow": {"shape": (1, 1, 60, 60)},
    "fewer": {"shape": (1, 1, 10, 10)},
    "a size that no file has": {"shape": (1, 1, 2**20, 2**20)},
    "pixels that unpack to gigabytes": {"packed": zlib.compress(bytes(2**24), 9)},
    "a name as long as a disk": {"name_length": 2**32 - 1},
    "a circle": {"next_position": 38},
    "a scan that was stopped": {"samples_written": 700},
    "endless positions": {"flags": {"flush_points": 2**63}},
    "no zlib": {"packed": b"not compressed at all"},
    "entities": {"tree": '<!DOCTYPE a [<!ENTITY b "c">]><root>&b;</root>'},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_one_clear_line(tmp_path, lie):
    path = write_obf(tmp_path / "a.obf", image("Ch1 {0}", XY, plane(40, 30), **LIES[lie]))
    with pytest.raises(StackError, match=r"a\.obf: (not a readable Imspector file|1.1e\+12 pixels)"):
        load_stack(path)


@pytest.mark.parametrize("kept", [0, 10, 38, 400, 1200, -1])
def test_a_truncated_file_is_one_clear_line(tmp_path, kept):
    path = write_obf(tmp_path / "a.obf", image("Ch1 {0}", XY, plane(40, 30)))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StackError, match="not a readable Imspector file"):
        load_stack(path)


def test_complex_numbers_are_no_counts(tmp_path):
    path = write_obf(tmp_path / "a.obf", image("Ch1 {0}", XY, plane(20, 20).astype(np.complex64)))
    with pytest.raises(StackError, match="real numbers are expected, got complex64"):
        load_stack(path)


def test_a_file_without_stacks_says_so(tmp_path):
    with pytest.raises(StackError, match=r"a\.msr: the file holds no image stack"):
        load_stack(write_obf(tmp_path / "a.msr"))


def test_a_document_without_stacks_tells_of_the_microscope(tmp_path):
    text = "<root><OlympusIX><light_path><objlens>60X NA1.2(water)</objlens></light_path></OlympusIX></root>"
    path = write_obf(tmp_path / "a.msr")
    path.write_bytes(path.read_bytes() + struct.pack("<I", len(text)) + text.encode("utf-16-le"))
    facts = stored(path).facts
    assert (facts.na, facts.immersion) == (1.2, "water")


def test_lengths_that_are_not_told_are_asked_for(tmp_path):
    path = write_obf(tmp_path / "a.obf", image("Ch1 {0}", XY, plane(20, 20), (0.0, 0.0)))
    with pytest.raises(StackError, match="does not tell its pixel sizes"):
        load_stack(path)
    assert load_stack(path, pixel_nm=(20.0, 20.0, 50.0)).pixel_nm == (20.0, 20.0, 50.0)


def test_specpy_reads_what_the_tests_write(tmp_path):
    specpy = pytest.importorskip("specpy", reason="specpy, Imspector's own library, is not installed")
    data = plane(20, 30)
    path = write_obf(tmp_path / "a.obf", Stack(data, XZ, (50.0, 20.0), "ExpControl Ch1 {13}"))
    file = specpy.File(str(path), specpy.File.Read)
    stack = file.read(0)
    assert (stack.name(), stack.labels()) == ("ExpControl Ch1 {13}", ["ExpControl X", "ExpControl Z"])
    np.testing.assert_array_equal(np.array(stack.data()), data)


def test_what_specpy_writes_is_read(tmp_path):
    specpy = pytest.importorskip("specpy", reason="specpy, Imspector's own library, is not installed")
    volume = plane(12 * 16, 18).reshape(12, 16, 18)
    file = specpy.File(str(tmp_path / "t.obf"), specpy.File.Write)
    stack = specpy.Stack(volume)
    stack.set_labels([f"ExpControl {axis}" for axis in "XYZ"])
    stack.set_lengths([18 * 20e-9, 16 * 25e-9, 12 * 50e-9])
    stack.set_offsets([0.0, 0.0, 0.0])
    file.write(stack)
    del file
    (found,) = stored(tmp_path / "t.obf").stacks
    assert (found.axes, found.shape) == ("ZYX", (12, 16, 18))
    assert found.pixel_nm == pytest.approx({"X": 20.0, "Y": 25.0, "Z": 50.0})
    np.testing.assert_array_equal(found.read(), volume)
    assert all(map(math.isfinite, found.pixel_nm.values()))
