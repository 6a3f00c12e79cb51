"""What to acquire: how well any estimate could tell each mode."""

from __future__ import annotations

from collections.abc import Sequence

from stedalign.config.setup import Setup
from stedalign.errors import check_type
from stedalign.estimation.acquisition import Bounds, acquisition_bounds
from stedalign.imaging.detector import Detector
from stedalign.optics.wavefront import Wavefront
from stedalign.progress import Cancel, Progress, Tell


def bound(
    setup: Setup,
    wavefront: Wavefront | Sequence[Wavefront] | None = None,
    photons: float | None = None,
    background: float | None = None,
    *,
    volume: bool = True,
    progress: Tell | None = None,
    cancel: Cancel | None = None,
) -> Bounds:
    """How well each mode can be told from the xy section, from the three sections, and from a volume of their size.

    The Cramér-Rao bound (Kay 1993, section 3.7) of Poisson counts with the setup's read noise (Snyder et al. 1995), at
    one wavefront or, as the root mean square, over several; None = unaberrated. ``photons`` are the counts that the
    crest of the unaberrated focus gives each pixel, in every kind of image alike, and ``background`` is a fraction of
    them; the setup's without them. The result holds arrays (modes,) in rms waves, for a known instrument and for one
    known only as well as the setup's ``nuisances`` say; in a volume, which is one exposure, no section drifts. A mode
    that is not seen at all comes out as 1 wave. ``progress`` is told each step; ``cancel``, once set, ends the job with
    ``Cancelled``. Raises ``InputError`` for values out of range, for a wavefront with other modes than the setup's, and
    for a volume that is too large to compute.
    """
    check_type("sa.bound", setup, Setup)
    asked = {"photons": photons, "background": background}
    given = {name: value for name, value in asked.items() if value is not None}
    detector = Detector.parse(setup.detector.model_dump() | given)
    if wavefront is None:
        wavefront = Wavefront.zero(setup.modes)
    several: Sequence[Wavefront] = [wavefront] if isinstance(wavefront, Wavefront) else wavefront
    check_type("sa.bound", several, Wavefront, Sequence)
    for each in several:
        check_type("sa.bound", each, Wavefront)
        each.check_range()
    return acquisition_bounds(
        setup.forward,
        [one.on(setup.modes) for one in several],
        detector,
        setup.nuisances,
        volume=volume,
        progress=Progress(progress, cancel),
    )
