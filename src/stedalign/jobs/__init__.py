"""What can be done with a microscope and its images: one function for each job, for command line, script and page.

A job that takes longer than two seconds tells ``progress`` its steps, ends with ``Cancelled`` once ``cancel`` is set,
and returns a value with ``to_json``. Begin with ``estimate``, which shows all of it.
"""
