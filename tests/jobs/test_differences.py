"""What a file says of its microscope, against the setup."""

from __future__ import annotations

import math

import pytest

import stedalign as sa
from stedalign.formats.facts import Facts, Laser
from stedalign.jobs.differences import differences
from stedalign.optics.detection import Detection

SETUP = sa.Setup()
PINHOLE = sa.Setup(detection=Detection(pinhole_airy=1.1))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(na=1.2), "the file is of an objective of NA 1.2, the setup says 1.4"),
        (Facts(immersion="water"), "the file is of an objective for water, the setup's index is 1.518"),
        (
            Facts(lasers=(Laser("a", 595.0), Laser("b", 485.0))),
            "lasers of 595, 485 nm, the setup's depletion",
        ),
        (Facts(pinhole_airy=1.0), "a pinhole of 1 Airy units, the setup says an open one"),
        (Facts(slm={"slm/twopi_gray_level": "205"}), "an SLM with 205 gray levels per wave, the setup says 218"),
    ],
)
def test_each_difference_is_a_sentence(facts, words):
    (told,) = differences(facts, SETUP)
    assert words in told


@pytest.mark.parametrize(
    "facts",
    [
        Facts(),
        Facts(na=1.4, immersion="oil", lasers=(Laser("a", 640.0), Laser("b", 774.0)), pinhole_airy=1.0),
        Facts(slm={"slm/twopi_gray_level": "218"}, immersion="something new"),
        Facts(pinhole_um=50.0),
    ],
)
def test_what_agrees_or_is_not_told_is_no_difference(facts):
    assert list(differences(facts, PINHOLE)) == []
    assert math.isinf(SETUP.detection.pinhole_airy)
