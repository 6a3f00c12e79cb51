"""Drawing wavefronts: distributions, units, and independence of what else is asked."""

import numpy as np
import pytest

from stedalign.dataset.spec import DatasetSpec, draw
from stedalign.optics.beam import Beam
from stedalign.optics.patterns import Vortex


@pytest.mark.parametrize(("distribution", "sigma"), [("normal", 0.3), ("uniform", 0.3 / 3**0.5)])
def test_each_label_has_the_asked_spread_in_peak_waves(distribution: str, sigma: float) -> None:
    drawn = draw(DatasetSpec.parse({"samples": 4000, "distribution": distribution, "range_peak_waves": 0.3}))
    np.testing.assert_allclose(drawn.peak_waves.std(axis=0), sigma, rtol=0.06)
    np.testing.assert_allclose(drawn.peak_waves.mean(axis=0), 0, atol=0.02)


def test_a_larger_dataset_begins_like_a_smaller_one() -> None:
    small, large = draw(DatasetSpec(samples=10)), draw(DatasetSpec(samples=30))
    assert (large.waves[:10] == small.waves).all()


def test_switching_shifts_on_leaves_the_wavefronts_as_they_were() -> None:
    plain, shifted = draw(DatasetSpec(samples=500)), draw(DatasetSpec(samples=500, shift_nm=(10, 20, 30)))
    assert (plain.waves == shifted.waves).all()
    np.testing.assert_allclose(shifted.shift_nm.std(axis=0), (10, 20, 30), rtol=0.1)


def test_the_mask_lies_within_its_range_and_moves_nothing_else() -> None:
    plain, moved = draw(DatasetSpec(samples=500)), draw(DatasetSpec(samples=500, mask_offset=0.2))
    assert (plain.waves == moved.waves).all()
    assert (plain.shift_nm == moved.shift_nm).all()
    assert not plain.mask_shift.any()
    np.testing.assert_allclose(moved.mask_shift.std(axis=0), 0.2 / 3**0.5, rtol=0.1)
    assert 0.19 < np.abs(moved.mask_shift).max() <= 0.2


def test_the_label_of_the_mask_counts_from_the_pupils_center() -> None:
    drawn = draw(DatasetSpec(samples=10, mask_offset=0.1))
    own = 0.05, -0.02
    np.testing.assert_allclose(
        drawn.mask_offset(Beam(pattern=Vortex(mask_offset=own))), drawn.mask_shift + np.array(own)
    )


def test_a_range_of_zero_leaves_no_aberrations() -> None:
    assert not draw(DatasetSpec(samples=10, range_peak_waves=0)).waves.any()


def test_the_parts_add_up_to_the_samples() -> None:
    assert DatasetSpec(samples=20_000).counts == (16_000, 2000, 2000)
    assert DatasetSpec(samples=37).counts == (29, 4, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"split": (0.8, 0.1, 0.2)}, "add up to 1"),
        ({"split": (1.0, 0.0, 0.0)}, "positive"),
        ({"samples": 4}, "empty"),
        ({"modes": [[2, 1]]}, "not a Zernike mode"),
        ({"shift_nm": (-1, 0, 0)}, "shift_nm"),
        ({"mask_offset": 0.4}, "mask_offset"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatasetSpec.model_validate(wrong)


def test_the_hash_changes_with_every_value() -> None:
    changed = [{"samples": 30}, {"seed": 1}, {"centered": False}, {"shift_nm": (1, 0, 0)}, {"modes": [[2, 2]]}]
    changed.append({"mask_offset": 0.1})
    hashes = {DatasetSpec.model_validate(change).hash for change in [{}, *changed]}
    assert len(hashes) == 1 + len(changed)
