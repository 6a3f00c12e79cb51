"""The nouns of optics, as frozen descriptions: modes, wavefronts, objective, beam, polarization, patterns, targets.

Begin with ``beam``; ``parameters`` is the table of everything that may differ from image to image, ``patterns`` has a
file for each mask. Nothing here propagates light: that is ``focusing``.
"""
