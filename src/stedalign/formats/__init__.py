"""Image files.

``stack.load_stack`` reads any of them; each format is a module of its own with its suffixes and a ``read`` that returns
what the file tells (``stored``). Begin with ``npy``, the smallest: a module like it is all that a new format takes.
"""
