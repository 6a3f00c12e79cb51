"""The engine: from wavefronts of one beam to the intensity at fixed samples, factored, batched, differentiable.

Begin in ``focus``; it asks ``node_plan`` how many waves an accuracy takes, ``pupil_quadrature`` and ``beam_family`` for
their amplitudes, and ``wave_grid``, ``field_kernels`` and ``target_samples`` carry them to the pixels.
"""
