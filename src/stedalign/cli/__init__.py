"""The command line: it reads options, calls a job and prints what comes of it; nothing is computed here.

Heavy imports stay inside the commands, so that ``--help`` takes none. Begin with ``main``; progress is drawn in
``progress``, and what becomes of an error stands in ``explain``.
"""
