"""The version, in the one place from which package, files and command line take it."""

__version__ = "0.1.0"
