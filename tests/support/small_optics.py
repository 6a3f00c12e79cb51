"""The instrument of images that are simulated and learned in seconds: sixteen coarse pixels, and a point for a bead.

A bead's coherent modes are most of the planning.
"""

from stedalign.imaging.detector import Bead
from stedalign.imaging.forward_spec import ForwardSpec
from stedalign.imaging.images import Sampling

FORWARD = ForwardSpec(bead=Bead(diameter_nm=0), sampling=Sampling(samples=16, pixel_nm=(110.0, 110.0, 110.0)))
SETUP = """\
[sampling]
samples = 16
pixel_nm = [110.0, 110.0, 110.0]
[bead]
diameter_nm = 0.0
"""
"""The same as a file."""
