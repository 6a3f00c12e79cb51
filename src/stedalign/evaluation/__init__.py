"""Evaluation: estimators beside each other and beside the bound, on the test images of a dataset.

Begin with ``comparison.compare`` (as the setup says) and ``mismatch.compare_under_mismatch`` (as it does not say); they
stand on ``test_set`` (images and truth), ``estimators``, ``errors``, ``bounds`` and ``reconstruction``.
"""
