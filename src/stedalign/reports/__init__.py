"""Every drawing: nothing else imports matplotlib.

Begin with ``alignment`` (an estimate, an alignment, planes of any image) or ``evaluation`` (a comparison, and errors
under mismatch). A report is what a job writes for people; its numbers are in the JSON beside it.
"""
