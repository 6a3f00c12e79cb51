"""Training a network: its specification, batches from a dataset or simulated on the way, Lightning, several processes.

Begin with ``run.train``, which does all of it in a run folder, and ``spec.TrainSpec``, what a TOML file may ask for.
``lightning_fixes`` holds what Lightning does otherwise than is needed here.
"""
