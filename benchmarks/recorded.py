"""What each effect is worth on sections that an instrument recorded: fitted, and predicted.

    python benchmarks/recorded.py --xy xy.ome.tif --xz xz.ome.tif --pixel-nm 10 10 10

Each row fits the sections with one model more: nothing but wavefront, place and light; what a setup usually does not
know, without and with the scale of z; and on top of these every effect in ``estimation.effects``. "Predicted" leaves
one section out, fits the others, and then gives that section its own light and place alone. Numbers are correlations
with the recorded counts. All rows weigh the pixels alike: by the noise, and what the usual fit leaves beyond it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

import stedalign as sa
from stedalign.estimation.centering import displacement_nm
from stedalign.estimation.effects import EFFECTS, Freedom, Usual
from stedalign.estimation.fit import fit
from stedalign.estimation.fits import fit_from
from stedalign.estimation.misfit import Misfit
from stedalign.estimation.models import Models, models_of
from stedalign.estimation.observed import Observed
from stedalign.estimation.propose import Proposal
from stedalign.estimation.recording import record
from stedalign.imaging.images import PLANES, Image
from stedalign.imaging.metrics import correlation
from stedalign.imaging.nuisances import Prior
from stedalign.optics.parameters import PIXEL_ERRORS

Z_SCALE = PIXEL_ERRORS[2]
SHOWN_MODES = sa.Mode(3, -1), sa.Mode(4, 0), sa.Mode(2, -2)
"""Those that differ most between the models."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """Sections as the model with all effects sees them, and where its fits begin."""

    models: Models
    observed: Observed
    begin: Tensor
    crest: float

    @classmethod
    def of(cls, image: Image, setup: sa.Setup) -> Recorded:
        recording = record(image, setup.forward, setup.detector)
        models = models_of(setup.forward, image.view, setup.modes, setup.nuisances)
        zero = Proposal(np.zeros(len(setup.modes)), np.array(displacement_nm(recording.image)))
        usual = fit_from(models, recording.observed, [zero])
        begin, observed = models.in_whole(usual.parameters), recording.observed.binned(models.whole)
        left = Misfit.of_fit(models.whole, observed, begin, len(models.layout)).counts
        noisy = observed.with_more_noise(torch.full(observed.counts.shape[:2], left**2, dtype=torch.float64))
        return cls(models, noisy, begin, float(begin[0, models.whole.layout.scale].max()))

    def freedoms(self) -> Iterator[tuple[str, Freedom]]:
        """What is free in each row."""
        models, whole = self.models, self.models.whole
        prior = Prior.of(whole, models.nuisances, self.observed.least_background(whole.pooled))
        usually = models.layout.free_names
        of = partial(Usual, whole.layout, prior, modes=len(models.modes))
        yield "wavefront, place, light", of(names=()).with_effects((), self.crest)
        without = tuple(name for name in usually if name != Z_SCALE)
        yield "+ usual nuisances but z scale", of(names=without).with_effects((), self.crest)
        usual = of(names=usually)
        yield "+ z scale", usual.with_effects((), self.crest)
        for effect in EFFECTS:
            yield f"+ z scale + {effect.name}", usual.with_effects((effect,), self.crest)

    def fitted(self, given: Freedom, start: Tensor, parts: list[int], free: Tensor | None = None) -> Tensor:
        """Parameters (1, P) that fit some ``parts``, or those of them that are ``free`` (P,)."""
        whole, free = self.models.whole, given.free if free is None else given.free & free
        prior = Prior(given.mean, given.precision, given.lowest, given.highest)
        believed = torch.zeros(self.observed.counts.shape[:2], dtype=torch.float64)
        believed[0, parts] = 1
        nominal = torch.where(given.free, start[0], self._nominal(start))[None]
        return fit(whole, self.observed.only(believed), nominal, prior=prior, held=~free).parameters

    def _nominal(self, start: Tensor) -> Tensor:
        """Parameters (P,) as the setup says, with the place and light of ``start``."""
        layout, nominal = self.models.whole.layout, start[0].clone()
        nominal[len(self.models.modes) : layout.modes.stop] = 0
        nominal[layout.free], nominal[layout.surface] = nominal.new_tensor(layout.nominal), 0
        return nominal

    def predicted(self, given: Freedom, start: Tensor, part: int) -> float:
        """Correlation of a section with what the others say of it."""
        whole, parts = self.models.whole, range(len(self.models.view.parts))
        own = torch.zeros(len(whole.layout), dtype=torch.bool)
        own[whole.layout.of_part(part)] = True
        others = self.fitted(given, start, [each for each in parts if each != part], ~own)
        return self.correlations(self.fitted(given, others, [part], own))[part]

    def correlations(self, parameters: Tensor) -> list[float]:
        whole = self.models.whole
        with torch.no_grad():
            expected = whole(parameters.to(whole.focus.scale.dtype))[0].double().numpy()
        return [correlation(*each) for each in zip(self.observed.counts[0].numpy(), expected, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in PLANES:
        parser.add_argument(f"--{name}", type=Path, help=f"a file with the {name} section")
    parser.add_argument("--pixel-nm", type=float, nargs=3, help="along x, y, z, where the files do not tell")
    parser.add_argument("--setup", type=Path, help="a setup file; the default instrument without it")
    given = parser.parse_args()
    files = {name: getattr(given, name) for name in PLANES if getattr(given, name)}
    if len(files) < 2:
        parser.error("give at least two sections, such as --xy FILE --xz FILE")
    setup = sa.Setup.load(given.setup) if given.setup else sa.Setup()
    recorded = Recorded.of(sa.load_sections(files, pixel_nm=given.pixel_nm and tuple(given.pixel_nm)), setup)
    parts, layout = recorded.models.view.parts, recorded.models.whole.layout
    modes = [mode for mode in SHOWN_MODES if mode in setup.modes]
    columns = [*(f"{name} {how}" for how in ("fitted", "predicted") for name in parts), "z scale"]
    table = Table("model", *columns, *(f"{mode.name}, mλ" for mode in modes))
    for title, freedom in track(list(recorded.freedoms()), "fitting", console=Console(stderr=True), transient=True):
        found = recorded.fitted(freedom, recorded.begin, list(range(len(parts))))
        predicted = [recorded.predicted(freedom, found, part) for part in range(len(parts))]
        scale = [f"{float(found[0, column]):+.3f}" for column in layout.columns([Z_SCALE])]
        waves = [1e3 * float(found[0, setup.modes.modes.index(mode)]) for mode in modes]
        table.add_row(
            title,
            *(f"{each:.4f}" for each in (*recorded.correlations(found), *predicted)),
            *(scale or ["-"]),
            *(f"{each:+.1f}" for each in waves),
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
