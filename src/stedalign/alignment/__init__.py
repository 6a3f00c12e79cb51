"""What happens at the instrument: a strategy works on a bench, a session keeps the log.

Begin with ``bench``, which restores the microscope on every exit, and ``model_based``, the strategy: a generator of
``events`` over a bench. Another strategy is another such generator; ``policy`` says when a correction counts.
"""
