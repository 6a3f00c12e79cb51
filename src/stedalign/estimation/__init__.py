"""How an image becomes numbers: a proposal, the fit that finishes it, error bars, and a refusal with a reason.

Begin with ``estimator``, which does it all in order; ``fit`` is the damped Gauss-Newton, ``search`` finds a start where
the proposal leads nowhere, ``checks`` what is refused, ``acquisition`` what images could tell at best.
"""
