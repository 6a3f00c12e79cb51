"""What happens between focus and counts: images, detector and noise, the forward model and what it is unsure of.

Begin with ``images``; ``forward`` is the model that is fitted, ``parameter_layout`` what its parameters mean,
``nuisances`` how well the setup knows them, ``detector`` all noise.
"""
