"""Image files.

``stack.load_stack`` reads any of them; each format is a module of its own with its ``SUFFIXES`` and a ``read(path)``
that returns what the file tells (``stored.Stored``): stacks with labeled axes, shape and pixel sizes, whose pixels are
read once one is chosen (``selection``), and facts of the microscope (``facts``). Limits and choices are none of its
business. Begin with ``npy``, the smallest: a module like it is all that a new format takes.
"""
