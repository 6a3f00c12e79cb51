"""One vector for all parameters of an image, and the way there and back."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from stedalign.imaging.images import PLANES, VOLUME
from stedalign.imaging.parameter_layout import ParameterLayout
from stedalign.optics.beam import Beam
from stedalign.optics.parameters import BEAM_PARAMETERS, IMAGE_PARAMETERS, PARAMETERS
from stedalign.optics.patterns import Vortex
from stedalign.optics.wavefront import ModeSet

BEAM = Beam(fill=1.25, pattern=Vortex(mask_offset=(0.1, -0.05)))
SLICES = "modes", "shift", "drift", "free", "scale", "background"
LAYOUTS = st.builds(
    ParameterLayout,
    st.just(BEAM),
    st.sets(st.integers(3, 20), min_size=1).map(lambda found: ModeSet.from_ansi(sorted(found))),
    st.sampled_from([("xy",), PLANES, (VOLUME,)]),
    st.lists(st.sampled_from((*BEAM_PARAMETERS, *IMAGE_PARAMETERS)), unique=True).map(tuple),
    st.booleans(),
)


def vectors(layout: ParameterLayout, count: int = 3) -> torch.Tensor:
    return torch.arange(float(count * len(layout)), dtype=torch.float64).reshape(count, -1)


@given(LAYOUTS)
def test_what_is_unpacked_packs_to_the_same_vectors(layout: ParameterLayout) -> None:
    whole = vectors(layout)
    values = layout.unpack(whole)
    assert values.drift_nm.shape == (3, len(layout.parts) if layout.drifting else 0, 3)
    assert torch.equal(layout.pack(values), whole)
    assert torch.equal(layout.pack_focus(*values[:4]), whole[:, layout.focus])


@given(LAYOUTS)
def test_the_slices_follow_each_other_and_leave_nothing_out(layout: ParameterLayout) -> None:
    columns = [column for name in SLICES for column in range(len(layout))[getattr(layout, name)]]
    assert columns == list(range(len(layout)))
    assert layout.focus == slice(0, layout.scale.start)


@given(LAYOUTS)
def test_every_parameter_has_a_name_of_its_own(layout: ParameterLayout) -> None:
    assert len(set(layout.names)) == len(layout.names) == len(layout)
    for name in layout.free_names:
        (column,) = layout.columns([name])
        assert layout.names[column] == PARAMETERS[name].label
        assert layout.free.start <= column < layout.free.stop


@given(LAYOUTS)
def test_what_is_not_given_is_as_the_setup_says(layout: ParameterLayout) -> None:
    (row,) = layout.pack_focus(torch.ones(1, len(layout.mode_set), dtype=torch.float64))
    assert (row[layout.modes] == 1).all()
    assert not row[layout.shift].any()
    assert not row[layout.drift].any()
    nominal = {"mask_offset_x": 0.1, "mask_offset_y": -0.05, "taper": 0.64, "ez_weight": 1.0}
    assert torch.allclose(
        row[layout.free], torch.tensor([nominal.get(name, 0.0) for name in layout.free_names]).double()
    )


def test_the_mask_offset_is_found_by_name() -> None:
    free = "taper", "mask_offset_y", "mask_offset_x"
    layout = ParameterLayout(BEAM, ModeSet.from_ansi([3, 5]), ("xy",), free)
    assert [layout.names[column] for column in layout.mask_offset] == ["mask offset x", "mask offset y"]
    assert ParameterLayout(BEAM, layout.mode_set, ("xy",)).mask_offset == []


def test_names_say_which_part_drifts() -> None:
    layout = ParameterLayout(BEAM, ModeSet.from_ansi([3]), ("xy", "xz"), ("blur_nm2",), drifting=True)
    assert layout.names[1:10:4] == ("shift x", "drift xy y", "drift xz z")
    assert layout.names[10:] == ("blur nm2", "scale xy", "scale xz", "background xy", "background xz")
