"""Datasets: noise-free images of known wavefronts in one HDF5 file, made in parts that survive a kill.

Begin with ``spec`` (what is drawn, and how) and ``generate`` (the simulation); ``parts`` says who makes which images,
``storage`` what the file holds.
"""
