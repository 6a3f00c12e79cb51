"""The simulated microscope: an instrument with a hidden truth, whose diffraction code the estimator does not share.

``microscope`` builds one from an ``instrument`` and a ``hidden`` world. Begin with ``world``: it makes the images from
the panel's gray levels, through ``lens``. Only its files and its ``truth`` tell that it is no real one.
"""
